"""What stops `slick annotate`: one clear error that names the place and the remedy, exit status 2, no traceback."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

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
