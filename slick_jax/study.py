"""`slick study`: fine-tune on every mixture with every seed, one after the other, then report."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from etils import epath

from slick_jax import run_folder
from slick_jax.analysis import report, runs
from slick_jax.config import Config
from slick_jax.errors import InputError
from slick_jax.training import train


def run(config: Config) -> epath.Path:
    """Train what is left of `config.study` and write the report; returns the report's path.

    A finished run of the same settings is left as it is, an unfinished one goes on from its last checkpoint (training
    sees to both). A run that fails does not keep the others from running: all failures come together in one InputError,
    after the report on what did finish. Raises Stopped, at once, when a signal asks for it.
    """
    work = [(variant, seed) for variant in chosen(config) for seed in config.study.seeds]
    failed: dict[str, list[str]] = {}
    for number, (variant, seed) in enumerate(work, start=1):
        name = f"{variant}, seed {seed}"
        print(f"study: {name} ({number} of {len(work)})", flush=True)
        try:
            train.run(for_run(config, variant, seed))
        except InputError as error:
            failed.setdefault(str(error), []).append(name)
            print(f"study: {name} failed, going on with the others: {error}", flush=True)
    page = report.run(config)
    if failed:
        problems = [f"{'; '.join(names)}: {problem}" for problem, names in failed.items()]
        raise InputError.of(problems, f"{sum(map(len, failed.values()))} of {len(work)} runs failed")
    return page


def chosen(config: Config) -> list[str]:
    """The variants to train on. Raises InputError where there are no mixtures, or none of a name that is asked for."""
    path = epath.Path(config.run_dir) / "mixtures" / "manifest.json"
    manifest: dict[str, Any] | None = run_folder.read_json(path)
    if not manifest or not runs.variant_names(manifest):
        raise InputError(f"{path}: no mixtures there; run `slick mix` with the same config first")
    mixed = runs.variant_names(manifest)
    problems = []
    for name in config.study.variants:
        if name not in mixed:
            close = difflib.get_close_matches(name, mixed, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            problems.append(f"config.study.variants: no mixture {name!r}; {hint}mixed are {', '.join(mixed)}")
    if problems:
        raise InputError.of(problems)
    return list(config.study.variants) or mixed


def for_run(config: Config, variant: str, seed: int) -> Config:
    """The config of one run of the study."""
    return dataclasses.replace(
        config, train=dataclasses.replace(config.train, variant=variant, seed=seed, mixture="")
    )
