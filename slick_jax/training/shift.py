"""Category shift: the tuned model of a finished run is annotated again, as the model before training was."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import tempfile
from pathlib import Path

from etils import epath

from slick_jax.config import Config, ExportConfig
from slick_jax.errors import InputError
from slick_jax.files import run_folder, stores
from slick_jax.files.claim import held
from slick_jax.knowledge import annotate
from slick_jax.training import export, loop


def folder_of(run: epath.PathLike, stop: str) -> epath.Path:
    """Where the annotations of a run's model at `stop` are, a run folder of its own."""
    return epath.Path(run) / f"shift-{stop}"


def finished(run: epath.PathLike, stop: str) -> bool:
    """Whether they are there, or the run has no such stop."""
    if (folder_of(run, stop) / "annotations.parquet").exists():
        return True
    result = run_folder.read_object(epath.Path(run) / "result.json")
    return result is not None and result[f"{stop.lower()}_epoch"] is None


def checkpoint_at(config: Config, run: epath.PathLike, stop: str) -> epath.Path:
    """The checkpoint of a finished run at `stop`. Raises InputError where it is not finished, or has no such stop."""
    result = run_folder.read_object(epath.Path(run) / "result.json")
    if result is None:
        raise InputError(f"{run}: not finished, so its model cannot be annotated; run `slick study` again")
    epoch = result[f"{stop.lower()}_epoch"]
    if epoch is None:
        raise InputError(f"{run}: dev was never asked, so there is no {stop}; give data.dev_path and train again")
    rows = result.get("rows_per_epoch", result["n"])
    return epath.Path(run) / "checkpoints" / str(epoch * loop.steps_per_epoch(rows, config.train))


def measure(config: Config, run: epath.PathLike, stop: str) -> None:
    """Annotate the model of the finished run in folder `run` at `stop` ('EARLY_STOP' or 'CONVERGENCE').

    Rows are those of `config.study.shift_splits`, everything else is asked as `config.annotate` says. Files are those
    of `slick annotate`, in `shift-<stop>/`; one that was killed goes on behind its last part. Raises Busy when another
    process is at it, InputError where the run has not kept the checkpoint or was annotated on other rows.
    """
    folder = folder_of(run, stop)
    # A Hugging Face folder of the checkpoint, only while it is asked: on a local disk, from which models are read.
    model = Path(tempfile.mkdtemp(prefix="slick-")) if stores.is_store(folder) else Path(folder) / "model"
    splits = config.study.shift_splits or config.data.splits
    if finished(run, stop):
        _check(folder, {"data.splits": sorted(splits), "data.limit": config.data.limit})
        shutil.rmtree(model, ignore_errors=True)  # of a process that was killed just before it did
        return
    checkpoint = checkpoint_at(config, run, stop)
    with held(folder), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        asked = dataclasses.replace(
            config,
            run_dir=str(folder),
            data=dataclasses.replace(config.data, splits=splits),
            model=dataclasses.replace(config.model, path=str(model), source=""),
        )
        try:
            export.run(dataclasses.replace(config, export=ExportConfig(str(checkpoint), str(model))))
            annotate.annotate(asked)
        finally:
            shutil.rmtree(model, ignore_errors=True)


def _check(folder: epath.Path, wanted: dict) -> None:
    """Raises InputError where the finished annotations are of other rows than those `wanted`."""
    path = folder / "config.json"
    written = run_folder.read_object(path)
    if written is None:
        return
    with run_folder.explained(path):
        data = written["config"]["data"]
        found = {"data.splits": sorted(data["splits"]), "data.limit": data["limit"]}
    if found != wanted:
        raise InputError(
            f"{folder}: holds annotations of other rows ({run_folder.differences(found, wanted)}); set"
            " study.shift_splits, data.splits and data.limit back, or remove that folder"
        )
