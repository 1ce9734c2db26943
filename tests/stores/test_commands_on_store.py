"""Commands with a run folder on a store write what they write on a disk, also after a stop."""

import dataclasses

import pandas as pd
import pytest
from etils import epath

from slick_jax.config import EvaluateConfig, ExportConfig, StudyConfig
from slick_jax.data import prepare
from slick_jax.errors import Stopped
from slick_jax.knowledge import annotate
from slick_jax.training import evaluate, export, study, train
from tests.training.fine_tuning import make_folder
from tests.training.test_study import real_config

RUN = "train/mixed/seed-0"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


def config_of(tiny, run_dir):
    config = real_config(tiny, run_dir)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, limit=12),
        annotate=dataclasses.replace(config.annotate, part_size=6, n_exemplar_sets=2, n_exemplars=1, n_samples=2),
        study=StudyConfig(variants=("mixed",), shift=("mixed",), shift_splits=("train",), shard="0/1"),
    )


def rows(path):
    return pd.read_parquet(path.open("rb"))


def test_a_study_on_a_store_is_that_on_a_disk(tiny, tmp_path, bucket, server, monkeypatch, capsys):
    folder = epath.Path(bucket)
    on_disk, on_store = config_of(tiny, tmp_path), config_of(tiny, folder)
    for config in (on_disk, on_store):
        prepare.run(config)
        annotate.annotate(config)
    assert (folder / "data" / "train.jsonl").read_bytes() == (tmp_path / "data" / "train.jsonl").read_bytes()
    pd.testing.assert_frame_equal(rows(folder / "annotations.parquet"), rows(tmp_path / "annotations.parquet"))

    study.run(on_disk)
    steps = []

    def stop(config, watch, ask):
        def stopping():
            steps.append(1)
            if len(steps) == 9:  # in the second of two epochs
                raise Stopped("here")
            watch()

        return run(config, stopping, ask)

    run = train.run
    with monkeypatch.context() as patch:
        patch.setattr("slick_jax.training.train.run", stop)
        with pytest.raises(Stopped):
            study.run(on_store)
    assert server.names("bucket", f"{bucket.removeprefix('gs://bucket/')}/{RUN}/checkpoints/6/")
    page = study.run(on_store)
    assert str(page) == f"{bucket}/report/index.html" and page.exists()
    for name in ("metrics.jsonl", "fit.parquet", "answers.parquet", "result.json"):
        assert (folder / RUN / name).read_bytes() == (tmp_path / RUN / name).read_bytes(), name
    shifted = f"{RUN}/shift-CONVERGENCE/annotations.parquet"
    pd.testing.assert_frame_equal(rows(folder / shifted), rows(tmp_path / shifted))
    assert sorted(path.name for path in (folder / "tables").iterdir()) == sorted(
        path.name for path in (tmp_path / "tables").iterdir()
    )
    left = server.names("bucket", bucket.removeprefix("gs://bucket/"))
    assert not [name for name in left if name.endswith(".tmp") or "/model/" in name or "probe-" in name]

    asked = [
        evaluate.run(dataclasses.replace(config, evaluate=EvaluateConfig(f"{config.run_dir}/{RUN}/checkpoints")))
        for config in (on_disk, on_store)
    ]
    assert asked[0] == asked[1] and list(folder.glob("evaluations/*.parquet"))
    for name, config in (("disk", on_disk), ("store", on_store)):
        chosen = ExportConfig(f"{config.run_dir}/{RUN}/checkpoints/12", str(tmp_path / name))
        export.run(dataclasses.replace(config, export=chosen))
    exported = {path.name: path.read_bytes() for path in (tmp_path / "disk").iterdir()}
    assert exported == {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= exported.keys()
