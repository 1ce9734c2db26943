"""Every config opens with commands that run, and passes `slick validate` or `slick plan` on small stand-ins."""

import ast
import json
import re
import textwrap

import pytest

from slick_jax import validate
from slick_jax.planning import plan
from slick_jax.settings.config_file import load_config
from tests.conftest import ROOT
from tests.data.test_entity_questions import TEMPLATES, write_zip
from tests.docs.commands import check, statements
from tests.training.fine_tuning import make_folder

CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.py"))
ROWS, MODEL, QUESTIONS = "--config.data.path=rows.jsonl", "--config.model.path=model", "--config.data.path=dataset.zip"
ASKING = {  # configs of commands that ask questions, with the stand-ins that they need
    "annotate_jsonl.py": (ROWS, MODEL),
    "base.py": (ROWS,),
    "demo.py": (),
    "demo_study.py": (),
    "doctor.py": (ROWS, MODEL),
    "entity_questions.py": (QUESTIONS, MODEL),
    "entity_questions_small.py": (QUESTIONS,),
    "entity_questions_study.py": (QUESTIONS, MODEL),
    "entity_questions_tenth.py": (QUESTIONS,),
}
PLANNED = ("plan_70b_v5p.py", "plan_8b_h100.py")
TEXTS = ("longform.py", "longform_own.py")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A folder with model/, rows.jsonl and dataset.zip."""
    folder = make_folder(tmp_path_factory.mktemp("stand_ins"))
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 512}))
    write_zip(
        folder / "dataset.zip",
        {
            (split, relation): [
                {"question": f"{before}{split} {relation} {i}{after}", "answers": [f"{split} {i}"]} for i in range(12)
            ]
            for split in ("train", "dev", "test")
            for relation, (before, after) in TEMPLATES.items()
        },
    )
    (folder / "configs").symlink_to(ROOT / "configs")
    return folder


def test_every_config_is_tried():
    assert sorted((*ASKING, *PLANNED, *TEXTS)) == CONFIGS


@pytest.mark.parametrize("name", CONFIGS)
def test_the_commands_that_a_config_opens_with_are_commands(place, name):
    told = ast.get_docstring(ast.parse((ROOT / "configs" / name).read_text()))
    shown = "\n".join(line for line in told.splitlines() if line.startswith("    "))
    commands = list(statements(re.sub(r"<[^>]*>", "my_model", textwrap.dedent(shown))))
    assert any(f"--config=configs/{name}" in words for words in commands)
    for words in commands:
        check(words)


@pytest.mark.parametrize("name", ASKING)
def test_a_config_validates(stand_ins, monkeypatch, capsys, name):
    monkeypatch.chdir(stand_ins)
    validate.run(load_config([f"--config=configs/{name}", *ASKING[name]], "validate"))
    assert "no problems found" in capsys.readouterr().out


@pytest.mark.parametrize("name", PLANNED)
def test_a_plan_is_made_from_shapes(stand_ins, monkeypatch, capsys, name):
    monkeypatch.chdir(stand_ins)
    settings = ["--config.plan.compile=False", "--config.plan.rows=64", "--config.plan.mixture_rows=64"]
    plan.run(load_config([f"--config=configs/{name}", *settings], "plan"))
    assert "yes" in capsys.readouterr().out
