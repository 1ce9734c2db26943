"""What stops `slick annotate`: one clear error that names the place and the remedy, exit status 2, no traceback."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from slick_jax.data.tokenizer import Tokenizer
from slick_jax.main import main


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [{"question": f"What is {n}?", "answer": f"thing {n}", "relation": "r"} for n in range(20)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def checkpoint(small_model, tmp_path):
    return shutil.copytree(small_model, tmp_path / "model")


@pytest.fixture
def annotate(root, tmp_path, rows, checkpoint, capsys):
    """Run the command on `rows` and `checkpoint`; returns what it printed as error, after checking how it ended."""

    def call(*overrides):
        arguments = {"run_dir": tmp_path / "run", "data.path": rows, "model.path": checkpoint}
        given = [f"--config.{name}={value}" for name, value in arguments.items()]
        status = main(["annotate", f"--config={root}/configs/annotate_jsonl.py", *given, *overrides])
        error = capsys.readouterr().err
        assert status == 2 and error.count("error: ") == 1 and "Traceback" not in error
        assert not (tmp_path / "run" / "annotations.parquet").exists()
        return error

    return call


def rewrite(checkpoint, change):
    tensors = load_file(checkpoint / "model.safetensors")
    change(tensors)
    save_file(tensors, checkpoint / "model.safetensors")


def test_a_relation_with_too_few_exemplars(annotate, rows):
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines, *(line.replace('"r"', '"rare"') for line in lines[:5])]))
    error = annotate()
    assert "relation 'rare' has 5 exemplar rows, 6 are needed" in error and "data.dev_path" in error


def test_a_pool_that_cannot_avoid_the_question(annotate, rows):
    rows.write_text("\n".join(rows.read_text().splitlines()[:6]))
    error = annotate()
    assert "rows.0" in error and "data.dev_path" in error


def test_shapes_that_do_not_fit_config_json(annotate, checkpoint):
    def cut(tensors):
        tensors["model.norm.weight"] = tensors["model.norm.weight"][:-1].copy()
        del tensors["model.layers.0.mlp.up_proj.weight"]

    rewrite(checkpoint, cut)
    error = annotate()
    assert "model.norm.weight" in error and "model.layers.0.mlp.up_proj.weight" in error and "config.json" in error


def test_weights_with_nan(annotate, checkpoint):
    rewrite(checkpoint, lambda tensors: tensors["model.norm.weight"].__setitem__(0, np.nan))
    assert "model.norm.weight holds NaN" in annotate()


def test_a_missing_tokenizer(annotate, checkpoint):
    (checkpoint / "tokenizer.json").unlink()
    assert "no tokenizer.json" in annotate()


def test_pickled_weights_are_refused(annotate, checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    error = annotate()
    assert "pytorch_model.bin" in error and "safetensors" in error


def test_an_answer_that_cannot_fit(annotate, rows):
    long = {"question": "What is long?", "answer": " ".join(["many words"] * 30), "relation": "r", "id": "long one"}
    rows.write_text(rows.read_text() + json.dumps(long))
    error = annotate()
    assert "'long one'" in error and "annotate.max_answer_tokens=32" in error


def test_an_answer_the_tokenizer_cannot_write(annotate, rows):
    foreign = {"question": "What is foreign?", "answer": "Łódź", "relation": "r", "id": "foreign one"}
    rows.write_text(rows.read_text() + json.dumps(foreign))
    error = annotate()
    assert "'foreign one'" in error and "cannot write 'Łódź'" in error


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", {"max_position_embeddings": "x"}),
        ("config.json", {"max_position_embeddings": -5}),
        ("config.json", {"hidden_act": ["silu"]}),
        ("config.json", {"model_type": ["llama"]}),
        ("generation_config.json", {"eos_token_id": "a"}),
        ("generation_config.json", []),
        ("tokenizer_config.json", None),
    ],
)
def test_damaged_files_of_the_model_folder(annotate, checkpoint, file, content):
    path = checkpoint / file
    if isinstance(content, dict):
        content = json.loads(path.read_text()) | content
    path.write_text(json.dumps(content))
    assert file in annotate()


def test_odd_fields_of_the_tokenizer_settings_change_nothing(checkpoint):
    whole = Tokenizer.from_folder(checkpoint)
    path = checkpoint / "tokenizer_config.json"
    odd = {"added_tokens_decoder": None, "bos_token": ["a"], "eos_token": 3}
    path.write_text(json.dumps(json.loads(path.read_text()) | odd))
    assert Tokenizer.from_folder(checkpoint).encode("a b") == whole.encode("a b")


def test_a_seed_that_is_none(annotate):
    assert "annotate.seed" in annotate(f"--config.annotate.seed={2**32}")


def test_a_failed_start_leaves_the_folder_free(root, annotate, checkpoint, rows, tmp_path, capsys):
    good = (checkpoint / "model.safetensors").read_bytes()
    rewrite(checkpoint, lambda tensors: tensors["model.norm.weight"].__setitem__(0, np.nan))
    annotate()
    (checkpoint / "model.safetensors").write_bytes(good)
    given = [f"--config.data.path={rows}", f"--config.model.path={checkpoint}", f"--config.run_dir={tmp_path / 'run'}"]
    assert main(["annotate", f"--config={root}/configs/annotate_jsonl.py", *given, "--config.data.limit=3"]) == 0
    assert (tmp_path / "run" / "annotations.parquet").exists()


def test_a_prompt_longer_than_the_model(annotate, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    assert "max_position_embeddings" in annotate()


def test_a_run_folder_that_cannot_be_written(annotate, tmp_path):
    (tmp_path / "run").write_text("a file, not a folder")
    error = annotate()
    assert "cannot be written" in error and "run_dir" in error


def test_misspelt_and_mistyped_settings_come_together(annotate):
    error = annotate("--config.annotate.n_sampels=3", "--config.annotate.temperature=warm", "--config.data.limit=-1")
    assert "n_samples" in error and "temperature" in error and "data.limit" in error
