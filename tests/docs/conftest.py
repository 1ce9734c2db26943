"""The Python of a page, run in its order."""

import functools
import re

import pytest

from slick_jax.main import main
from tests.docs.commands import statements
from tests.docs.grounds import GROUNDS
from tests.docs.pages import blocks


@pytest.fixture(scope="session")
def played(root, tmp_path_factory):
    """played(page): the names that the page's Python leaves behind, and the folder it ran in.

    A block that begins with `# <name>.py` is also that file; `slick data` is run where it stands between blocks.
    """

    @functools.cache
    def play(page):
        folder = tmp_path_factory.mktemp("page")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.syspath_prepend(folder)
            names = {"__name__": "page"} | GROUNDS[page](folder)
            if not (folder / "configs").exists():
                (folder / "configs").symlink_to(root / "configs")
            for block in blocks(page):
                if block.language == "python":
                    if called := re.match(r"# (\w+\.py)\n", block.text):
                        (folder / called[1]).write_text(block.text)
                    exec(compile(block.text, block.where, "exec"), names)
                elif block.language == "sh":
                    for words in statements(block.text):
                        if words[:2] == ["slick", "data"]:
                            assert main(words[1:]) == 0, words
        return names, folder

    return play


FOLDERS = ("data", "my_model", "runs/eq/data/tfds/slick_rows/1.0.0", "tfds/entity_questions/paper/1.0.0")
FILES = ("my_rows.jsonl", "my_test.jsonl", "dataset.zip", "data/biographies.jsonl")  # as pages call what readers bring


@pytest.fixture
def place(root, tmp_path, monkeypatch):
    """A folder with the configs, and with stand-ins for what readers bring or earlier commands make."""
    (tmp_path / "configs").symlink_to(root / "configs")
    for name in FOLDERS:
        (tmp_path / name).mkdir(parents=True)
    for name in FILES:
        (tmp_path / name).write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path
