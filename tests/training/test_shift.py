"""The tuned model annotated again: as `slick annotate` does of its export, resumable, by one process at a time."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest

from slick_jax.config import ExportConfig, StudyConfig
from slick_jax.errors import InputError
from slick_jax.files.claim import Busy, held
from slick_jax.knowledge import annotate, store
from slick_jax.training import export, shift
from tests.training.fine_tuning import RUN, config_for


@pytest.fixture(scope="module")
def config(folder, finished):
    config = config_for(folder, finished.parents[2])
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, limit=12),
        annotate=dataclasses.replace(config.annotate, part_size=6, n_exemplar_sets=2, n_exemplars=1, n_samples=2),
        study=StudyConfig(shift_splits=("train",)),
    )


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, to write into."""
    return shutil.copytree(finished, tmp_path / RUN)


def test_it_is_the_annotation_of_the_exported_model(config, run, tmp_path, monkeypatch):
    write, written = store.Parts.write, []

    def killed(parts, number, *rest):
        written.append(number)
        if len(written) == 2:
            raise KeyboardInterrupt
        write(parts, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store.Parts, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            shift.measure(config, run, "CONVERGENCE")
    assert len(list((run / "shift-CONVERGENCE" / "annotations").glob("part-*"))) == 1
    assert not shift.finished(run, "CONVERGENCE")
    shift.measure(config, run, "CONVERGENCE")
    assert shift.finished(run, "CONVERGENCE") and not (run / "shift-CONVERGENCE" / "model").exists()

    model = tmp_path / "model"
    export.run(dataclasses.replace(config, export=ExportConfig(str(run / "checkpoints" / "24"), str(model))))
    settings = dataclasses.replace(config.model, path=str(model))
    data = dataclasses.replace(config.data, splits=("train",))
    annotate.annotate(dataclasses.replace(config, run_dir=str(tmp_path / "direct"), model=settings, data=data))
    pd.testing.assert_frame_equal(
        pd.read_parquet(run / "shift-CONVERGENCE" / "annotations.parquet"),
        pd.read_parquet(tmp_path / "direct" / "annotations.parquet"),
    )

    tested = dataclasses.replace(config, study=StudyConfig(shift_splits=("test",)))
    whole = dataclasses.replace(config, data=dataclasses.replace(config.data, limit=None))
    for other, told in ((tested, r"data.splits was \['train'\], is \['test'\]"), (whole, "data.limit was 12, is None")):
        with pytest.raises(InputError, match=f"shift-CONVERGENCE: holds annotations of other rows .{told}.*remove"):
            shift.measure(other, run, "CONVERGENCE")
    shift.measure(config, run, "CONVERGENCE")


def test_what_is_there_or_held_by_another_is_left_alone(config, run):
    with held(run / "shift-CONVERGENCE"), pytest.raises(Busy):
        shift.measure(config, run, "CONVERGENCE")
    (run / "shift-CONVERGENCE" / "annotations.parquet").touch()
    (run / "shift-CONVERGENCE" / "model").mkdir()  # by one that was killed at its very end
    shift.measure(config, run, "CONVERGENCE")
    assert (run / "shift-CONVERGENCE" / "annotations.parquet").stat().st_size == 0
    assert not (run / "shift-CONVERGENCE" / "model").exists()


def test_a_stop_that_the_run_does_not_have_is_finished(config, run):
    result = json.loads((run / "result.json").read_text()) | {"early_stop_epoch": None}
    (run / "result.json").write_text(json.dumps(result))
    shift.measure(config, run, "EARLY_STOP")
    assert shift.finished(run, "EARLY_STOP") and not (run / "shift-EARLY_STOP").exists()


def test_a_checkpoint_that_is_gone_is_named(config, run):
    shutil.rmtree(run / "checkpoints" / "24")
    with pytest.raises(InputError, match="no checkpoint of step 24"):
        shift.measure(config, run, "CONVERGENCE")
