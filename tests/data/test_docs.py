"""What docs/data.md shows is run, in its order, on small files."""

import re
import shlex

import pytest

from slick_jax.config_file import load_config
from slick_jax.data.entity_questions.preparation import prepare
from slick_jax.data.examples import read_rows
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.tfds_rows import read_tfds
from slick_jax.main import main
from slick_jax.training.mixture_file import read_mixture
from tests.data.test_entity_questions import small_source, write_zip

BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def shown(root, tmp_path_factory):
    """Names that the page's Python blocks leave behind, the folder they ran in, and the commands that were shown."""
    folder = tmp_path_factory.mktemp("docs")
    write_zip(folder / "dataset.zip", small_source())
    names, commands = {"__name__": "page"}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(root)
        (folder / "configs").symlink_to(root / "configs")
        for language, text in BLOCK.findall((root / "docs" / "data.md").read_text()):
            if language == "python":
                exec(compile(text, "docs/data.md", "exec"), names)
                continue
            for line in text.replace("\\\n", "").splitlines():
                command, *arguments = shlex.split(line, comments=True)[1:]
                commands.append(command)
                if command == "data":
                    assert main([command, *arguments]) == 0, line
                else:
                    load_config(arguments, command)
        yield names, folder, commands


def test_rows_in_either_form_are_the_same(shown):
    _, folder, commands = shown
    assert commands == ["data"] * 5 + ["train"]
    rows = read_rows(str(folder / "my_rows.jsonl"), "train")
    assert rows == read_rows(str(folder / "my_rows.parquet"), "train") and len(rows) == 2
    assert read_tfds(folder / "runs/mine/data/tfds/slick_rows/1.0.0") == {"train": rows}


def test_entity_questions_is_the_same_by_command_by_builder_and_by_hand(shown):
    names, folder, _ = shown
    expected = prepare(str(folder / "dataset.zip"))
    assert names["splits"] == expected
    for place in (names["folder"], names["builder"].data_dir, folder / "runs/eq/data/tfds/slick_rows/1.0.0"):
        assert read_tfds(place) == expected
    first = names["source"][0]
    assert (len(names["source"]), first["question"].decode()) == (36, expected["test"][0].question)


def test_grain_batches_hold_every_row_once_an_epoch_and_resume(shown):
    names, folder, _ = shown
    epoch = [row for batch in names["batches"][:5] for row in batch]
    expected = [(fine_tuning_prompt(row.question), row.answers[0]) for row in names["examples"]]
    assert sorted((row["prompt"], row["completion"]) for row in epoch) == sorted(expected)
    assert names["first"] == names["batches"][0] and len(names["first"]) == 8
    later = next(names["iterator"])
    names["iterator"].set_state(names["state"])
    assert next(names["iterator"]) == later != names["first"]
    assert [(row.prompt, row.completion) for row in read_mixture(folder / "mixture.parquet")] == expected
