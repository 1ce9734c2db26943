"""What `slick train` refuses: mixtures and categories of another origin, folders in use or of other settings."""

import dataclasses
import json

import pandas as pd
import pytest
from etils import epath

from slick_jax.data.examples import read_rows
from slick_jax.data.mix import content_digest
from slick_jax.errors import InputError
from slick_jax.files.claim import claimed
from slick_jax.training import train
from tests.training.fine_tuning import RUN, config_for, mixture_rows, write_mixture


def test_categories_of_another_model_are_refused(folder, tmp_path):
    config = config_for(folder, tmp_path)
    (tmp_path / "mixtures" / "manifest.json").write_text('{"model": "another"}')
    with pytest.raises(InputError, match="manifest.json: its categories were measured on another model"):
        train.run(config)
    (tmp_path / "mixtures" / "manifest.json").unlink()
    annotate(tmp_path, folder, model="another")
    with pytest.raises(InputError, match="annotations.parquet: its categories were measured on another model"):
        train.run(config)
    with pytest.raises(InputError, match="config.annotate.n_samples: 3, and 16 in the run"):
        train.run(dataclasses.replace(config, annotate=dataclasses.replace(config.annotate, n_samples=3)))


def annotate(run_dir, folder, model):
    """What `slick annotate` leaves, with every row Unknown."""
    rows = read_rows(folder / "rows.jsonl", "train")
    table = {"id": [r.id for r in rows], "question": [r.question for r in rows], "category": "Unknown", "protocol": "p"}
    pd.DataFrame(table).to_parquet(run_dir / "annotations.parquet")
    record = {"protocol": "p", "config": {"annotate": {"n_samples": 16}}}
    (run_dir / "config.json").write_text(json.dumps(record))
    (run_dir / "annotations").mkdir()
    (run_dir / "annotations" / "manifest.json").write_text(json.dumps({"hash": "p", "protocol": {"model": model}}))


def test_mixtures_of_another_rule_are_refused(folder, tmp_path):
    config = config_for(folder, tmp_path)
    (tmp_path / "mixtures" / "manifest.json").write_text('{"rule": "strict_"}')
    with pytest.raises(InputError, match="mixed by the categories of mix.rule='strict_', and the config has ''"):
        train.run(config)


def test_a_mixture_that_was_changed_by_hand_is_refused(folder, tmp_path):
    config, rows = config_for(folder, tmp_path), mixture_rows()
    sha256 = content_digest((row["id"], row["answer"]) for row in rows)
    (tmp_path / "mixtures" / "manifest.json").write_text(json.dumps({"variants": {"mixed": {"sha256": sha256}}}))
    write_mixture(tmp_path, rows[:-1])
    with pytest.raises(InputError, match=r"mixed.jsonl: other rows than .*manifest.json says; run `slick mix` again"):
        train.run(config)


def test_bad_input_is_refused(folder, finished, tmp_path):
    run_dir = finished.parents[2]
    with pytest.raises(InputError, match=r"other settings \(train.peak_lr was 0.003, is 0.1\)"):
        train.run(config_for(folder, run_dir, peak_lr=0.1))
    config = config_for(folder, tmp_path)
    write_mixture(tmp_path, [])
    with pytest.raises(InputError, match="the mixture is empty"):
        train.run(config)
    with pytest.raises(InputError, match="no such mixture; run `slick mix`"):
        train.run(dataclasses.replace(config, train=dataclasses.replace(config.train, variant="absent")))
    write_mixture(tmp_path)
    held = claimed(epath.Path(tmp_path / RUN), "train.json", {}, "result.json")
    with held, pytest.raises(InputError, match="another process"):
        train.run(config)


def test_no_space_left_is_one_clear_error(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(epath.Path("x").__class__, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        train.run(config_for(folder, tmp_path))
