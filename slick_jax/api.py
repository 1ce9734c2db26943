"""The Python interface: what `from slick_jax import ...` gives. Each command is the function that `slick` itself runs.

JAX is imported when the first function needs it. Bad input raises `InputError`, as it ends the command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etils import epath

from slick_jax import main
from slick_jax.commands import COMMANDS
from slick_jax.config import Config
from slick_jax.errors import InputError
from slick_jax.models import hub
from slick_jax.settings import config_file, rules

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from slick_jax.checkup.command import Report
    from slick_jax.interactive import Model
    from slick_jax.planning.page import Plan


def load_config(
    file: str | os.PathLike[str] | None = None, settings: Mapping[str, object] | None = None, command: str = ""
) -> Config:
    """The config of a Python file (None: the defaults), with `settings` such as {"train.epochs": 3} on top.

    With a `command` it is also checked for what that command needs. Raises one InputError that lists all problems.
    """
    if command and command not in COMMANDS:
        raise InputError(f"no command {command!r}; {main.nearest(command)}")
    place = None if file is None else os.fspath(file)
    return config_file.read_config(place, settings or {}, command)


def annotate(config: Config) -> pd.DataFrame | None:
    """`slick annotate`: P_Correct and category of every row, written to run_dir and returned (docs/annotations.md).

    What an earlier call has finished is not measured again. None in processes other than the first.
    """
    return _run("annotate", config)


def doctor(config: Config) -> Report | None:
    """`slick doctor`: annotates, advises and writes run_dir/doctor: what was found, the advice, the data sets and the
    page (docs/doctor.md). None of a dry run, which only prints."""
    return _run("doctor", config)


def mix(config: Config) -> dict[str, Any]:
    """`slick mix`: writes mixtures/ and returns their manifest: sizes, and counts of every variant."""
    return _run("mix", config)


def train(config: Config) -> epath.Path:
    """`slick train`: fine-tunes on config.train.variant; returns the run's folder, which holds result.json."""
    return _run("train", config)


def evaluate(config: Config) -> dict[str, dict]:
    """`slick evaluate`: greedy exact match by split: {split: {em, n, by_category, by_relation, ...}}."""
    return _run("evaluate", config)


def study(config: Config) -> epath.Path | None:
    """`slick study`: trains what is left of all mixtures and seeds; returns the report's page, None where another
    process will write it."""
    return _run("study", config)


def report(config: Config) -> epath.Path:
    """`slick report`: findings, tables and figures of what is finished; returns the page."""
    return _run("report", config)


def export(config: Config) -> Path:
    """`slick export`: writes config.export.checkpoint as a Hugging Face folder, which is returned."""
    return _run("export", config)


def plan(config: Config) -> Plan:
    """`slick plan`: memory, arithmetic and hours of every stage; `.record()` has them as JSON values."""
    return _run("plan", config)


def read_annotations(run_dir: str | os.PathLike[str]) -> pd.DataFrame:
    """The annotations of a finished run, a row per example in the data's order (docs/annotations.md)."""
    from slick_jax.data import annotations

    return annotations.read_table(run_dir).to_pandas()


def load_model(path: str | os.PathLike[str], settings: Mapping[str, object] | None = None) -> Model:
    """A model that answers questions: `.answer(...)`, `.sample(...)` and `.p_correct(...)`.

    path: Hugging Face folder, hub id, PEFT folder, or checkpoints/ of a training run or a step in it. `settings`: of
    model, mesh and annotate, such as {"model.dtype": "bfloat16", "annotate.prompt_style": "chat"}; the base of adapters
    is model.path. Raises InputError where there is no such model, and for bad settings.
    """
    config = load_config(settings=settings)
    if config.model.weights:
        held = config.model.weights
        raise InputError(f"config.model.weights: {held!r} is for `slick annotate` alone; leave it empty")
    from slick_jax.compilation import use_compilation_cache

    use_compilation_cache()
    from slick_jax.interactive import Model

    return Model(hub.resolve(os.fspath(path)).folder, config)


def _run(command: str, config: Config) -> Any:
    """What `slick <command>` does with this config."""
    found = rules.problems(config, command)
    if found:
        raise InputError.of(found)
    return main.carry_out(command, config)
