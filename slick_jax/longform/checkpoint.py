"""A checkpoint as the stages of the study use it; nothing of its weights is read before a stage asks for them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from slick_jax.config import Config
from slick_jax.data.prompt_styles import Chat, Qa, prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.models import hub, weights
from slick_jax.models.transformer import Network, Params


@dataclass(frozen=True)
class Checkpoint:
    """A model folder that was opened; `source` is `org/name@commit` where it came from the hub."""

    folder: str
    source: str
    network: Network
    mesh: Mesh
    tokenizer: Tokenizer
    style: Qa | Chat

    @functools.cached_property
    def params(self) -> Params:
        """All parameters, in the dtype of the network, on the mesh; held until `release`."""
        return weights.load_hf(self.folder, self.network, self.mesh, self.network.dtype)

    def release(self) -> None:
        """Gives the memory of the parameters back."""
        self.__dict__.pop("params", None)

    @functools.cached_property
    def protocol(self) -> dict[str, Any]:
        """What stands for the model in the settings of tables: its weights, arithmetic, tokenizer and prompt style."""
        network = self.network
        return {
            "weights": weights.fingerprint(self.folder), "dtype": str(network.dtype), "style": self.style.name,
            "precision": str(network.precision), "tokenizer": self.tokenizer.fingerprint(),
        }  # fmt: skip

    @property
    def name(self) -> str:
        """For people."""
        return self.source or self.folder


def open_model(config: Config, folder: str | Path, mesh: Mesh) -> Checkpoint:
    """The model under study, asked in the style of `annotate.prompt_style`."""
    network, tokenizer = _parts(config, folder)
    style = prompt_style(config.annotate, tokenizer)
    return Checkpoint(str(folder), config.model.source, network, mesh, tokenizer, style)


def open_second(config: Config, path: str, setting: str, mesh: Mesh) -> Checkpoint:
    """A checkpoint that `setting` names by folder or hub id, asked by its chat template where it has one."""
    found = hub.resolve(path, setting)
    network, tokenizer = _parts(config, found.folder)
    style = Qa(tokenizer) if tokenizer.chat_template is None else Chat(tokenizer, config.annotate.chat_options)
    return Checkpoint(found.folder, found.source, network, mesh, tokenizer, style)


def _parts(config: Config, folder: str | Path) -> tuple[Network, Tokenizer]:
    spec, arithmetic = weights.read_spec(folder), config.model
    network = Network(spec, arithmetic.dtype, arithmetic.precision, arithmetic.scan_layers)
    return network, Tokenizer.from_folder(str(folder), spec.vocab_size)
