"""Where run folders are, and which rooms of a run folder hold something."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from etils import epath

from slick_jax.errors import InputError
from slick_jax.files import stores

# What tells a run folder from any other folder: a name in it that a command writes.
MARKS = frozenset(
    {"annotations", "annotations.parquet", "pretrain.json", "mixtures", "train", "train.json", "longform", "gradual",
     "plan.json", "evaluations"}
)  # fmt: skip
DEPTH = 3  # folders below the one that is asked for in which run folders are looked for


def existing(folder: str) -> epath.Path:
    """The folder as a path. Raises InputError where there is none."""
    stores.configure()
    place = epath.Path(folder)
    if not place.is_dir():
        raise InputError(f"{folder}: no such folder; name one that holds run folders, or a run folder")
    return place


def run_folders(place: epath.Path, depth: int = DEPTH) -> Iterator[tuple[epath.Path, frozenset[str]]]:
    """(run folder, names in it) of `place` and of what is below it, by name.

    Run folders inside a run folder, such as those of shifted models, belong to it and are not given.
    """
    names = names_in(place)
    if any(not names_in(place / name) & MARKS for name in names & MARKS):  # runs/longform is a run folder, not a mark
        yield place, names
    elif depth:
        for name in sorted(names):
            below = place / name
            if not name.startswith(".") and below.is_dir():
                yield from run_folders(below, depth - 1)


def names_in(place: epath.Path) -> frozenset[str]:
    """Names of files and folders; none of a folder that cannot be read."""
    with contextlib.suppress(OSError):
        return frozenset(one.name for one in place.iterdir())
    return frozenset()


def training_runs(run_dir: epath.Path) -> list[epath.Path]:
    """Folders of the fine-tuning runs, by variant and seed."""
    found = [
        seed
        for variant in sorted(_folders(run_dir / "train"))
        for seed in _folders(run_dir / "train" / variant.name)
        if seed.name.startswith("seed-") and seed.name[5:].isdecimal()
    ]
    return sorted(found, key=lambda one: (one.parent.name, int(one.name[5:])))


def last_written(place: epath.Path, names: tuple[str, ...]) -> float | None:
    """Seconds since 1970 at which the newest of the files `names` was written; None where none is there."""
    times = []
    for name in names:
        with contextlib.suppress(OSError):
            times.append(float((place / name).stat().mtime))
    return max(times, default=None)


def _folders(place: epath.Path) -> list[epath.Path]:
    return [place / name for name in names_in(place) if (place / name).is_dir()]
