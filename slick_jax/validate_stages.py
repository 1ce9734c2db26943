"""What each command would stop at before it uses a device, beyond its settings: the checks are the commands' own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from slick_jax import tuned
from slick_jax.config import Config, EvaluateConfig, StudyConfig
from slick_jax.data import annotations
from slick_jax.data.examples import load_splits
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.files import stores
from slick_jax.knowledge import rescore
from slick_jax.knowledge.questions import questions
from slick_jax.models import weights
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.settings.doctor import DoctorConfig
from slick_jax.settings.longform import COMMANDS as LONGFORM
from slick_jax.settings.longform import LongformConfig
from slick_jax.settings.plan import PlanConfig
from slick_jax.training import study, train
from slick_jax.training.checkpoints import find_step
from slick_jax.training.fine_tuning_data import render
from slick_jax.training.mixture_file import read_mixture

LEAST_FREE = 1 << 28  # bytes that any run should find free
STATE_BYTES = {"adamw": 12, "adafactor": 5}  # of a checkpoint, per trained parameter: float32, with moments
WRITES_NOTHING = ("export", "plan")  # to run_dir, or hardly anything


def set_up(config: Config) -> list[str]:
    """The commands besides `annotate` that a config has settings of."""
    chosen = {
        "train": bool(config.train.variant or config.train.mixture),
        "study": config.study != StudyConfig(),
        "evaluate": config.evaluate != EvaluateConfig(),
        "export": bool(config.export.checkpoint or config.export.out),
        "rescore": bool(config.rescore.source),
        "doctor": config.doctor != DoctorConfig(),
        "longform": config.longform != LongformConfig(),
        "plan": config.plan != PlanConfig(),
    }
    return [name for name, there in chosen.items() if there]


def checks(config: Config, command: str) -> Iterator[Callable[[Config], object]]:
    """What to call with the config for this command; each raises InputError with what is wrong."""
    if command not in WRITES_NOTHING and config.run_dir:
        yield writable
    if command in ("data", "pretrain", "demo") and config.data.kind != "world":
        yield lambda config: load_splits(config.data)
    if command in ("mix", "gradual"):
        yield mixable
    if command == "study":
        yield study.units
    if command == "train":
        yield trainable
    if command in ("train", "evaluate", "study"):
        yield lambda config: questions(config, config.evaluate.splits if command == "evaluate" else ())
    if command in ("train", "study", "gradual"):
        yield lambda config: room_for_checkpoints(config, _runs(config, command))
    if command == "evaluate":
        yield lambda config: checkpoint(config.evaluate.checkpoint or config.model.path, config.model.path)
    if command == "export":
        yield lambda config: checkpoint(config.export.checkpoint, config.model.path)
    if command == "rescore":
        yield rescore.checked
    if command == "report":
        yield annotations.read
    if command in LONGFORM:
        yield longform
    if command == "plan":
        yield planned


def writable(config: Config) -> None:
    """Raises InputError where run_dir cannot be made or written, or its disk is nearly full. Nothing is written."""
    if stores.is_store(config.run_dir):
        return stores.check(config.run_dir)
    place = _nearest(config.run_dir)
    if not place.is_dir():
        raise InputError(f"config.run_dir: {str(place)!r} is a file; choose another run_dir")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"config.run_dir: {str(place)!r} cannot be written; change its permissions, or run_dir")
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE:
        raise InputError(
            f"config.run_dir: {config.run_dir!r}: its disk has {free / 2**20:,.0f} MiB left; free some, or choose"
            " another run_dir"
        )


def room_for_checkpoints(config: Config, runs: int) -> None:
    """Raises InputError where the disk has less room than the checkpoints of so many runs take."""
    if stores.is_store(config.run_dir) or not config.run_dir:
        return
    spec, settings = weights.read_spec(config.model.path), config.train
    kept = len(settings.keep) + (settings.epochs // settings.keep_every if settings.keep_every else 0)
    size = sum(leaf.size for leaf in jax.tree.leaves(Network(spec).abstract())) * STATE_BYTES[settings.optimizer]
    needed = 0 if settings.lora.rank or not runs else size * (runs * kept + 2)  # one that is written, one that is to go
    free = shutil.disk_usage(_nearest(config.run_dir)).free
    if free < needed:
        raise InputError(
            f"config.run_dir: {config.run_dir!r}: its disk has {free / 2**30:,.1f} GiB left, and the checkpoints of"
            f" {runs} run{'s' * (runs > 1)} take about {needed / 2**30:,.1f} GiB; free some, or lower train.keep and"
            " train.keep_every"
        )


def mixable(config: Config) -> None:
    """The annotations that mixtures are cut from, and that they are of this data."""
    annotations.check_data(annotations.read(config), load_splits(config.data), config.mix.split)


def trainable(config: Config) -> None:
    """The mixture that is trained on, and that its rows fit the model."""
    mixture, model = read_mixture(train.mixture_of(config)), config.model.path
    spec: ModelSpec = weights.read_spec(model)
    style = prompt_style(config.annotate, Tokenizer.from_folder(model, spec.vocab_size))
    settings = config.train
    render(
        style, mixture, max_target=settings.max_target_tokens, max_positions=spec.max_position_embeddings, where=model,
        max_replay=settings.max_replay_tokens,
    )  # fmt: skip


def checkpoint(path: str, base: str) -> None:
    """A checkpoint by its name: that it is there, and the step that it names."""
    tuned.find(path, base)
    folder, step = find_step(path)
    if step is not None and not (folder / str(step)).is_dir():
        there = sorted(int(one.name) for one in folder.iterdir() if one.name.isdecimal())
        raise InputError(f"{folder}: no checkpoint of step {step}; there are {', '.join(map(str, there)) or 'none'}")


def longform(config: Config) -> None:
    """The domains, and the checkpoints that word and check claims."""
    from slick_jax.longform.study import Study  # here, as it imports most of the package

    Study(config)
    if not config.longform.built_in:
        Tokenizer.from_folder(config.model.path, weights.read_spec(config.model.path).vocab_size)


def planned(config: Config) -> None:
    """The devices that are planned for, and the shapes of the model."""
    from slick_jax.planning.target import target_of

    target_of(config)
    if config.plan.model or config.model.path:
        weights.read_spec(config.plan.model or config.model.path)


def _runs(config: Config, command: str) -> int:
    try:
        if command == "study":  # a finished run has its checkpoints on the disk already
            return sum(not unit.finished for unit in study.units(config))
        return 1 + (command == "gradual")
    except InputError:  # told by the check of its own
        return 1


def _nearest(run_dir: str) -> Path:
    """The folder that is there, at or above run_dir."""
    place = Path(run_dir).absolute()
    return next(one for one in (place, *place.parents) if one.exists())
