"""Names and layout of a family's tensors in Hugging Face checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Joined:
    """A module that holds several of our weights one after another along its outputs."""

    module: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class PerHead:
    """A module that holds several of our weights in turns, head by head (GPT-NeoX: q, k, v of head 0, then of 1)."""

    module: str
    weights: tuple[str, ...]


# Weight of a layer -> its module, as most families since Llama call it.
LLAMA_MODULES: Mapping[str, str | Joined | PerHead] = {
    "attention_norm": "input_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


@dataclass(frozen=True)
class Layout:
    """Where the weights of a family are: names of the whole model's modules, and of a layer's under `layer`."""

    base: str = "model."  # in front of all names but the head's; files saved without the head leave it out
    embedding: str = "embed_tokens"
    positions: str | None = None
    final_norm: str = "norm"
    head: str = "lm_head"
    layer: str = "layers.{layer}."
    modules: Mapping[str, str | Joined | PerHead] = field(default_factory=lambda: LLAMA_MODULES)
    transposed: bool = False  # kernels lie [inputs, outputs], as GPT-2's Conv1D keeps them
