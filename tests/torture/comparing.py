"""Whether two run folders hold the same: all but rates and times, and what processes leave of themselves."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq
from orbax.checkpoint import v1 as ocp

TIMES = {"speed"}  # keys of JSON files; only in a run that has computed something itself
SKIPPED = ("config.json", "lock", "owner.json", "index.html")  # settings and page name the run folder
OF_PROCESSES = re.compile(r"(^|/)(processes|study)/|\.tmp$")
TOLERANCE = 1e-5  # between one process and several, whose batches are of other shapes


def differences(one: Path, other: Path, exact: bool = True) -> list[str]:
    """What differs between two finished run folders, a line each; floats of tables within TOLERANCE unless `exact`."""
    mine, theirs = contents(one), contents(other)
    found = [f"{name}: only in {one if name in mine else other}" for name in sorted(mine.keys() ^ theirs.keys())]
    for name in sorted(mine.keys() & theirs.keys()):
        same = _same(mine[name], theirs[name]) or (not exact and _close(mine[name], theirs[name]))
        found += [] if same else [f"{name}: differs"]
    return found


def contents(run_dir: Path) -> dict[str, Any]:
    """What the files of a run folder say, by their path: tables, JSON without times, arrays of checkpoints, bytes."""
    found: dict[str, Any] = {}
    for path in sorted(run_dir.rglob("*")):
        name = str(path.relative_to(run_dir))
        if path.is_dir() and path.parent.name == "checkpoints" and path.name.isdecimal():
            found[name] = _arrays(path)
        if not path.is_file() or "/checkpoints/" in name or path.name in SKIPPED or OF_PROCESSES.search(name):
            continue
        if path.suffix == ".parquet":
            found[name] = pq.read_table(path)
        else:
            found[name] = path.read_bytes()
            with contextlib.suppress(ValueError):  # a file that was cut, and that nothing has read
                found[name] = _timeless(json.loads(found[name])) if path.suffix == ".json" else found[name]
    return found


def _timeless(value: Any) -> Any:
    return {name: one for name, one in value.items() if name not in TIMES} if isinstance(value, dict) else value


def _arrays(step: Path) -> list[np.ndarray]:
    with ocp.training.Checkpointer(step.parent.absolute()) as checkpointer:
        try:
            found = checkpointer.load_checkpointables(int(step.name))
        except Exception as error:  # whatever Orbax makes of a cut file: no arrays, which is a difference
            return [np.array(type(error).__name__)]
    return [np.asarray(leaf) if hasattr(leaf, "shape") else leaf for leaf in jax.tree.leaves(found)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and one and any(isinstance(part, np.ndarray) for part in one):
        return len(one) == len(other) and all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
    return bool(one.equals(other)) if hasattr(one, "equals") else one == other


def _close(one: Any, other: Any) -> bool:
    """Whether two tables, or two JSON values, differ by the rounding of floats alone."""
    if hasattr(one, "to_pandas") and hasattr(other, "to_pandas"):
        one, other = one.to_pylist(), other.to_pylist()
    return _near(one, other)


def _near(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_near(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_near, one, other))
    return one == other
