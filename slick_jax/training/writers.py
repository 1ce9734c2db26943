"""Where a run's metrics go: metrics.jsonl always, TensorBoard and Weights & Biases where their extras are installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from etils import epath

from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.files.json_text import parse

METRICS = "metrics.jsonl"  # in the folder of a run


class Writer(Protocol):
    """Takes one epoch's metrics at a time."""

    def write(self, line: dict) -> None:
        """`line`: {"epoch": e, "loss": x, ..., "<split>": {...}}."""

    def close(self) -> None:
        """Nothing more comes."""


class JsonLines:
    """metrics.jsonl, a line an epoch; the file is written anew each time, so that it never ends in half a line."""

    def __init__(self, path: epath.PathLike, lines: Sequence[dict]):
        """Goes on behind `lines`, those of the file at `path` that count."""
        self._path, self.lines = epath.Path(path), list(lines)

    def write(self, line: dict) -> None:
        """Add the line of one epoch."""
        self.lines.append(line)
        if _leads():
            run_folder.write_text(self._path, "".join(json.dumps(one) + "\n" for one in self.lines))

    def close(self) -> None:
        """Every line is on disk already."""


def read_lines(path: epath.PathLike) -> list[dict]:
    """The lines of a metrics.jsonl; none where there is no file. Raises InputError on a damaged one."""
    path = epath.Path(path)
    try:
        lines = [parse(line) for line in path.read_bytes().splitlines()] if path.exists() else []
        if not all(isinstance(line, dict) and isinstance(line.get("epoch"), int) for line in lines):
            raise ValueError("a line names no epoch")
        return lines
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON lines ({error}); remove the run's folder and train again") from error


class TensorBoard:
    """Scalars named like the paths of a line, such as dev/by_category/Unknown/em, at the epoch as step."""

    def __init__(self, folder: epath.PathLike):
        self._writer = _extra("tensorboard.summary", "tensorboard").Writer(str(folder))

    def write(self, line: dict) -> None:
        """Add every number of the line."""
        for name, value in flatten(line):
            self._writer.add_scalar(name, value, line["epoch"])

    def close(self) -> None:
        """Flush the event file."""
        self._writer.close()


class WeightsAndBiases:
    """The same names in a Weights & Biases run, which a resumed training goes on with (`run_id`)."""

    def __init__(self, folder: epath.PathLike, name: str, run_id: str, settings: dict):
        wandb = _extra("wandb", "wandb")
        self._run = wandb.init(
            project="slick_jax", dir=str(folder), name=name, id=run_id, config=settings, resume="allow"
        )

    def write(self, line: dict) -> None:
        """Log every number of the line."""
        self._run.log(dict(flatten(line)), step=line["epoch"])

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def make_writers(
    chosen: Sequence[str], folder: epath.PathLike, name: str, run_id: str, settings: dict
) -> list[Writer]:
    """The writers of `train.writers`, on the first process; none on the others.

    `run_id`: the same for one folder and its settings, whenever the run is taken up again.

    Raises InputError where the package of a writer is not installed.
    """
    if not _leads():
        return []
    kinds = {
        "tensorboard": lambda: TensorBoard(epath.Path(folder) / "tensorboard"),
        "wandb": lambda: WeightsAndBiases(folder, name, run_id, settings),
    }
    return [kinds[one]() for one in chosen]


def flatten(line: dict, prefix: str = "") -> Iterator[tuple[str, float]]:
    """(path, number) of every number in nested dicts, the epoch itself left out."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}/")
        elif f"{prefix}{name}" != "epoch":
            yield f"{prefix}{name}", value


def _leads() -> bool:
    """Whether this is the first process."""
    import jax  # here, as `slick ls` reads metrics without it

    return jax.process_index() == 0


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"config.train.writers: {extra!r} is not installed ({error}); pip install 'slick_jax[{extra}]', or leave"
            " it out"
        ) from error
