"""What a fine-tuning run is known by: the settings that its results depend on, and the model that it starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from slick_jax.config import TrainConfig
from slick_jax.models.lora import LoraSpec
from slick_jax.training import adapters, checkpoints


def counted(settings: TrainConfig, uncounted: Sequence[str], lora: LoraSpec | None) -> dict[str, Any]:
    """The settings without those that are `uncounted`, with all targets of `lora`, also where none is named."""
    found = dataclasses.asdict(settings)
    for name in uncounted:
        del found[name]
    if lora is None:
        del found["lora"]
    else:
        found["lora"]["targets"] = list(lora.targets)
    return found


def describe(
    folder: epath.PathLike, model: str, lora: LoraSpec | None, settings: TrainConfig, fingerprint: str, source: str
) -> None:
    """Puts beside the checkpoints in `folder` what a reader needs without the run: architecture and tokenizer of the
    Hugging Face folder `model`, and where there are adapters, on which weights they sit (`source`: their hub id)."""
    checkpoints.describe(folder, model)
    where = str(epath.Path(model).resolve())
    adapters.describe(folder, lora and adapters.Origin(lora, where, fingerprint, settings.lora.base_dtype, source))
