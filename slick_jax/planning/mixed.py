"""The mixtures that are trained on: those in the run folder, or what `slick mix` will make of the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from slick_jax.config import Config
from slick_jax.data.mixtures import REPLAY
from slick_jax.data.recipes import parse, wanted
from slick_jax.files import run_folder
from slick_jax.training.mixture_file import MixtureRow, dealt, read_mixture

SHARE = 3  # a mixture holds about one in so many of the rows it is drawn from, where nothing says more


@dataclasses.dataclass(frozen=True)
class Mixture:
    """epoch: rows of an epoch, each as often as it comes; asked: those that are asked after it, which replayed ones are
    not; rows: all of them, where they are mixed."""

    epoch: int
    asked: int
    rows: Sequence[MixtureRow] = ()


@dataclasses.dataclass(frozen=True)
class Mixtures:
    """train: that of `slick train`, the largest of the study where none is named; study: those of `slick study`; told:
    where their sizes are from."""

    train: Mixture
    study: Sequence[Mixture]
    told: str


def mixtures_of(config: Config, pool: int) -> Mixtures:
    """The mixtures of `config.train` and `config.study`; `pool`: rows that they are drawn from, 0: not known.

    Raises InputError for damaged files.
    """
    train = config.train
    folder = epath.Path(config.run_dir) / "mixtures" if config.run_dir else None
    manifest = (run_folder.read_object(folder / "manifest.json") if folder else None) or {}
    mixed = manifest.get("variants", {})
    names = config.study.variants or tuple(mixed) or tuple(wanted(config.mix))
    size, source = _size(config, pool)

    def variant(name: str) -> Mixture:
        return _found(folder, name, mixed[name]) if name in mixed else _assumed(config, name, size)

    study = [variant(name) for name in names]
    if train.mixture:
        path = epath.Path(train.mixture)
        named, there = (_read(path), True) if path.exists() else (Mixture(size, size), False)
    else:
        named, there = (variant(train.variant), train.variant in mixed) if train.variant else (None, True)
    there = there and (named is not None or all(name in mixed for name in names))
    told = "mixtures counted" if there else f"not mixed: |D| of {size:,} rows assumed ({source})"
    return Mixtures(named or max(study, key=lambda one: one.epoch), study, told)


def _size(config: Config, pool: int) -> tuple[int, str]:
    """|D| of mixtures that are not made yet, and what says so."""
    if config.plan.mixture_rows:
        return config.plan.mixture_rows, "plan.mixture_rows"
    if config.mix.size.isdecimal():
        return int(config.mix.size), "mix.size"
    return -(-(pool or config.plan.rows) // SHARE), f"one row in {SHARE}; set plan.mixture_rows"


def _found(folder: epath.Path, name: str, record: dict[str, Any]) -> Mixture:
    """A variant of the manifest."""
    path = folder / f"{name}.jsonl"
    return _read(path) if path.exists() else Mixture(record["n"] + record.get("n_replay", 0), record["n"])


def _read(path: epath.Path) -> Mixture:
    rows = read_mixture(path)
    return Mixture(len(dealt(rows)[0]), sum(row.role != REPLAY for row in rows), rows)


def _assumed(config: Config, name: str, size: int) -> Mixture:
    """A variant that is not mixed yet, of |D| rows where its recipe says no other number."""
    try:
        recipe, argument = parse(name)
    except ValueError:  # of the user's own
        return Mixture(size, size)
    mix = config.mix
    if recipe == "known_only":
        size -= size * int(argument) // 100
    more = {
        "replay": mix.replay_per_fact * size,
        "upweight": round(size * mix.upweight_percent / 100) * (mix.upweight_times - 1),
    }
    return Mixture(size + more.get(recipe, 0), size)
