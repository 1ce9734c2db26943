"""The Python interface: light to import, typed, the functions of the command line, and bad input as an exception."""

import inspect
import subprocess
import sys
import typing

import numpy as np
import pandas as pd
import pytest

import slick_jax
from slick_jax import CATEGORIES, InputError, load_config, load_model, main, read_annotations, read_rows
from slick_jax.commands import COMMANDS
from slick_jax.config import Config
from tests.training.fine_tuning import make_folder

SMALL = {
    "n_exemplars": 1, "n_exemplar_sets": 2, "n_reserve_sets": 1, "n_samples": 3, "max_answer_tokens": 12,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny untrained model with rows.jsonl and dev.jsonl."""
    return make_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(tiny):
    return load_model(tiny / "model", {"mesh.fsdp": 1})


def test_importing_the_package_imports_neither_jax_nor_tables():
    code = "import sys, slick_jax; dir(slick_jax); sys.exit(bool({'jax', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_are_found_when_they_are_used_and_no_others():
    code = "import slick_jax as s; [getattr(s, name) for name in s.__all__]; import sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(slick_jax.__all__) <= set(dir(slick_jax)) and slick_jax.__all__ == sorted(slick_jax.__all__)
    with pytest.raises(AttributeError, match="no attribute 'anotate'"):
        slick_jax.anotate  # noqa: B018


def test_no_module_takes_the_place_of_a_name():
    """`from slick_jax import study` is the function, also once every module of the package has been imported."""
    code = (
        "import importlib, pkgutil, slick_jax\n"
        "for one in pkgutil.iter_modules(slick_jax.__path__): importlib.import_module(f'slick_jax.{one.name}')\n"
        "import types; assert not [n for n in slick_jax.__all__ if isinstance(getattr(slick_jax, n), types.ModuleType)]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_function_is_typed_and_documented(root):
    functions = [one for name in slick_jax.__all__ if inspect.isfunction(one := getattr(slick_jax, name))]
    assert len(functions) >= 12
    for one in functions:
        signature = inspect.signature(one)
        assert signature.return_annotation is not inspect.Signature.empty, one
        assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values()), one
        assert inspect.getdoc(one), one
    assert (root / "slick_jax/py.typed").exists() and "py.typed" in (root / "setup.py").read_text()


def test_type_checkers_see_the_names_that_there_are(root):
    text = (root / "slick_jax/__init__.py").read_text()
    imported = text.split("if TYPE_CHECKING:")[1].split("__version__")[0]
    assert all(name in imported for name in slick_jax.__all__)


def test_settings_have_the_names_of_the_command_line(root):
    config = load_config(root / "configs/demo.py", {"train.epochs": 3, "data.limit": "5", "data.splits": ["test"]})
    assert isinstance(config, Config) and config.run_dir == "runs/demo"
    assert (config.train.epochs, config.data.limit, config.data.splits) == (3, 5, ("test",))
    assert load_config() == Config()


def test_bad_settings_are_one_exception():
    with pytest.raises(InputError) as caught:
        load_config(settings={"annotate.temprature": 1.0, "train.epochs": 3.5, "data.kind": "rwos"}, command="annotate")
    text = str(caught.value)
    assert "did you mean temperature? (set in the call)" in text and "3.5 is not a whole number" in text
    assert "data.kind: 'rwos' is unknown" in text and "model.path: empty, and `slick annotate` needs it" in text
    with pytest.raises(InputError, match="`slick mix` needs it"):
        slick_jax.mix(Config())
    with pytest.raises(InputError, match="did you mean `slick annotate`"):
        load_config(command="anotate")
    with pytest.raises(InputError, match="model.weights: 'int8' is for `slick annotate` alone"):
        load_model("/absent/model", {"model.weights": "int8"})
    with pytest.raises(InputError, match="no such folder"):
        load_model("/absent/model")
    with pytest.raises(InputError, match="run `slick annotate`"):
        read_annotations("/absent")


def test_functions_run_what_the_command_line_runs(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(main, "carry_out", lambda command, config: seen.append(command) or "made")
    monkeypatch.setattr(slick_jax.api.rules, "problems", lambda config, command: [])
    names = ("annotate", "doctor", "mix", "train", "evaluate", "study", "report", "export", "plan")
    assert [getattr(slick_jax, name)(Config()) for name in names] == ["made"] * 9
    assert seen == list(names) and set(names) <= set(COMMANDS)


def test_a_model_answers_as_evaluation_says(tiny, model):
    rows = read_rows(str(tiny / "rows.jsonl"), "train")[:5]
    questions = [row.question for row in rows]
    greedy = model.answer(questions, max_tokens=9)
    assert len(greedy) == 5 and greedy == model.answer(questions, max_tokens=9)
    assert model.answer(questions[2], max_tokens=9) == [greedy[2]]
    told = [{"question": q, "answer": a or "x"} for q, a in zip(questions, greedy, strict=True)]
    assert model.answer(questions, told[:1], max_tokens=9) != greedy
    assert all("\n" not in text for text in greedy)


def test_samples_hang_on_question_and_seed_alone(model):
    questions = ["Who wrote Dune?", "Where is Laos?"]
    drawn = model.sample(questions, n=3, max_tokens=6)
    assert [len(texts) for texts in drawn] == [3, 3]
    assert model.sample(questions[1], n=3, max_tokens=6) == drawn[1:]
    assert model.sample(questions, n=3, max_tokens=6, seed=1) != drawn


def test_p_correct_is_that_of_slick_annotate(tiny, model, tmp_path):
    rows = read_rows(str(tiny / "rows.jsonl"), "train")[:6]
    dev = read_rows(str(tiny / "dev.jsonl"), "dev")
    found = model.p_correct(rows, dev, **SMALL)
    config = load_config(settings={
        "model.path": str(tiny / "model"), "data.path": str(tiny / "rows.jsonl"), "run_dir": str(tmp_path / "run"),
        "data.dev_path": str(tiny / "dev.jsonl"), "data.limit": 6, **{f"annotate.{k}": v for k, v in SMALL.items()},
    })  # fmt: skip
    written = slick_jax.annotate(config)
    pd.testing.assert_frame_equal(written, read_annotations(tmp_path / "run"))
    for column in ("id", "category", "p_correct_greedy", "p_correct_sampled"):
        assert found[column].tolist() == written[column].tolist()
    np.testing.assert_allclose(found["p_correct_exact"], written["p_correct_exact"], atol=1e-6)
    assert set(found["category"]) <= set(CATEGORIES) and "protocol" not in found


def test_bad_rows_and_settings_of_p_correct(tiny, model):
    with pytest.raises(InputError, match="row 1: answer is missing"):
        model.p_correct([{"question": "q?", "answer": "a"}, {"question": "q?"}])
    with pytest.raises(InputError, match="id 'row.0' occurs twice|id 'x' occurs twice"):
        model.p_correct([{"id": "x", "question": "q?", "answer": "a"}] * 2)
    with pytest.raises(InputError, match="no setting n_sampels"):
        model.p_correct([{"question": "q?", "answer": "a"}], n_sampels=3)
    with pytest.raises(InputError, match="leaves fewer than max_tokens"):
        model.answer("why " * 200)
    with pytest.raises(InputError, match="temperature above 0"):
        model.sample("q?", temperature=0.0)


def test_annotations_of_the_interface_resolve():
    from slick_jax.interactive import Model

    for name in ("answer", "sample", "p_correct"):
        assert "return" in typing.get_type_hints(getattr(Model, name))
