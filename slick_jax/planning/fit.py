"""Which stages fit the devices, and what to change where one does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from slick_jax.config import Config
from slick_jax.knowledge.shapes import TOKENS
from slick_jax.memory import hint
from slick_jax.planning.stages import Stage
from slick_jax.planning.target import Target

OF_COMMAND = {  # stages with another name than the command they are of
    "shift": "study", "texts": "longform", "beliefs": "longform", "fine-tuning": "longform", "answers": "longform",
}  # fmt: skip


def fits(stage: Stage, usable: float) -> bool:
    """Whether the stage's peak, less what it takes only where that is free, is within `usable` bytes of a device."""
    return stage.peak - stage.spare <= usable and not stage.refused


def advice(stage: Stage, target: Target, config: Config, again: Callable[[Target], Stage]) -> str:
    """What to change so that `stage` fits: the smallest group of devices that would do, and the settings that matter.

    again: the stage on another target, from shapes.
    """
    tokens = config.annotate.batch_tokens or TOKENS.get(target.kind.platform, TOKENS["gpu"])
    planned = dataclasses.replace(config, annotate=dataclasses.replace(config.annotate, batch_tokens=tokens))
    settings = hint(OF_COMMAND.get(stage.name, stage.name), planned)
    for sizes in _larger_groups(target):
        if fits(again(target.with_mesh(sizes)), target.usable):
            return f"set mesh.fsdp={sizes[1]}, mesh.tensor={sizes[2]}, which fits by shapes; or {settings}"
    return f"no larger group of these {target.count} devices would do: take more devices; or {settings}"


def _larger_groups(target: Target) -> Iterator[tuple[int, int, int]]:
    """Meshes whose groups cut the model over more devices, small ones first: more `fsdp`, which sends less."""
    tensor, fsdp = target.mesh.shape["tensor"], target.mesh.shape["fsdp"] * 2
    while fsdp * tensor <= target.count:
        if target.count % (fsdp * tensor) == 0:
            yield target.count // (fsdp * tensor), fsdp, tensor
        fsdp *= 2
