"""The architecture of a checkpoint: sizes and switches of the one decoder, whatever family they were read from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slick_jax.errors import short

LARGEST = 3.4e38  # JSON holds larger numbers, and infinity; float32 does not
# Sizes that no model comes near: beyond them a file would have tables made that no memory holds.
MOST_OF_A_SIZE, MOST = 2**24, {"n_layers": 4096, "max_position_embeddings": 2**31 - 1}
ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "relu")


@dataclass(frozen=True)
class RopeScaling:
    """Change of the rotary frequencies, as transformers' `rope_scaling` of the same kind.

    'linear' and 'llama3' stretch frequencies; 'yarn' also multiplies cosines and sines by `attention_factor`. So does
    'longrope', whose `short_factor` divides them one by one; the model is held to `original_max_position_embeddings`,
    as a longer text changes all its keys. 'dynamic' says nothing up to max_position_embeddings.
    """

    kind: str
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float = 1.0
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()  # beyond the original context; kept for export alone
    extended_positions: int = 0  # max_position_embeddings of the file, kept for export alone


@dataclass(frozen=True)
class MoE:
    """A mixture of experts in place of the MLP: every token takes the `top_k` experts its router scores highest."""

    n_experts: int
    top_k: int
    d_mlp: int  # of one expert
    normalise: bool  # the weights of the chosen experts sum to 1


@dataclass(frozen=True)
class ModelSpec:
    """Sizes and switches of a decoder. Hashable, so that it can be static in `jax.jit`."""

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_mlp: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = False
    attention_bias: bool = False  # on queries, keys, values and output
    mlp_bias: bool = False
    activation: str = "silu"
    rope_scaling: RopeScaling | None = None
    max_position_embeddings: int = 2048
    family: str = "llama"
    qkv_bias: bool = False  # on queries, keys and values, but not on the output
    positions: str = "rotary"  # or 'learned': a table added to the embeddings
    rotary_dim: int | None = None  # leading entries of a head that are rotated; None: all
    local_rope_theta: float | None = None  # base of the layers whose rope is 'local'
    ropes: tuple[str, ...] | None = None  # per layer 'global', 'local' or 'none'; None: all 'global'
    windows: tuple[int | None, ...] | None = None  # per layer, tokens a query sees, itself included; None: all of them
    norm: str = "rms"  # 'rms', 'rms_plus_one' (its scale is 1 + weight) or 'layer'
    norm_placement: str = "pre"  # of the branches: 'pre', 'post' or 'sandwich' (both)
    qk_norm: str | None = None  # of queries and keys: 'head' (each head by itself) or 'full' (all heads joined)
    attention_scale: float | None = None  # of the scores; None: head_dim ** -0.5
    attention_softcap: float | None = None  # scores become cap * tanh(scores / cap)
    logit_softcap: float | None = None
    embedding_scale: float = 1.0
    residual_scale: float = 1.0  # of both branches
    logit_divisor: float = 1.0
    gated_mlp: bool = True
    parallel_residual: bool = False  # attention and MLP both read the layer's input
    moe: MoE | None = None

    def problems(self) -> list[str]:
        """What makes these sizes impossible, one line each."""
        found = []
        sizes = ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_mlp")
        for name in (*sizes, "max_position_embeddings"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                found.append(f"{name} is {short(value)}; it must be an integer of at least 1")
            elif value > MOST.get(name, MOST_OF_A_SIZE):
                found.append(f"{name} is {short(value)}; it can be {MOST.get(name, MOST_OF_A_SIZE)} at most")
        if not found and self.n_heads % self.n_kv_heads:
            found.append(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        rotated = "head_dim" if self.rotary_dim is None else "rotary_dim"
        if not found and self.positions == "rotary" and getattr(self, rotated) % 2:
            found.append(f"{rotated} is {getattr(self, rotated)}; rotary positions need an even number")
        for name in ("rope_theta", "norm_eps", "local_rope_theta"):
            value = getattr(self, name)
            if name == "local_rope_theta" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LARGEST:
                found.append(f"{name} is {short(value)}; it must be a number above 0")
        for name in ("windows", "ropes"):
            value = getattr(self, name)
            if value is not None and len(value) != self.n_layers:
                found.append(f"{name} has {len(value)} entries; the model has {self.n_layers} layers")
        if self.moe is not None and not 1 <= self.moe.top_k <= self.moe.n_experts:
            found.append(f"moe takes {self.moe.top_k} of {self.moe.n_experts} experts; it must be 1 to all of them")
        return found


def spec_from_hf(config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture that a Hugging Face `config` (the parsed config.json) describes.

    `where` names the file in errors. Raises InputError listing every field that is missing, impossible, or changes the
    computation in a way this program does not know.
    """
    from slick_jax.models.families import read  # the families are written in terms of this module

    return read(config, where)


def spec_to_hf(spec: ModelSpec, **extra: Any) -> dict[str, Any]:
    """The config.json of `spec` as transformers reads it; `extra` (token ids, dtype) is added as it is."""
    from slick_jax.models.families import write

    return {**write(spec), **extra}
