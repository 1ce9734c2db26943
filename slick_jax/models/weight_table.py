"""Every weight described once: shape, logical axes, initialiser and Hugging Face name.

Parameters are a nested dict of arrays, {'embedding', 'layers', 'final_norm', 'head'}; weights of the layers are stacked
on axis 0. Abstract shapes, shardings, initialisation, import and export are all derived from this table.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from slick_jax.models.spec import ModelSpec

Table = Mapping[str, Any]  # nested; the leaves are Weight


@dataclass(frozen=True)
class Weight:
    """One weight of one layer, or of the whole model where `layers` is 0.

    Ours is [inputs..., outputs...] (q: [D N H]); Hugging Face keeps the same numbers as [outputs, inputs], flattened.
    """

    hf_name: str  # with '{layer}' where the weight belongs to a layer
    shape: tuple[int, ...]
    axes: tuple[str, ...]  # logical names, see slick_jax.mesh.RULES
    std: float | None = None  # of the normal initialiser; None: the constant `fill`
    fill: float = 0.0
    inputs: int = 0  # leading axes that a matmul sums over; 0: kept as it is (embeddings, norms) or flattened (biases)
    layers: int = 0

    @property
    def stacked_shape(self) -> tuple[int, ...]:
        """Shape of the parameter: [L ...] for a weight of the layers."""
        return (self.layers, *self.shape) if self.layers else self.shape

    @property
    def stacked_axes(self) -> tuple[str, ...]:
        """Logical axes of the parameter."""
        return ("layers", *self.axes) if self.layers else self.axes

    @property
    def hf_groups(self) -> tuple[tuple[int, ...], ...]:
        """Which of our axes each axis of the Hugging Face tensor flattens, in order."""
        axes = tuple(range(len(self.shape)))
        if self.inputs:
            return axes[self.inputs :], axes[: self.inputs]
        return tuple((axis,) for axis in axes) if "vocab" in self.axes else (axes,)

    @property
    def hf_shape(self) -> tuple[int, ...]:
        """Shape of the Hugging Face tensor."""
        return tuple(math.prod(self.shape[axis] for axis in group) for group in self.hf_groups)

    @property
    def is_matrix(self) -> bool:
        """True for what weight decay is for: matmul weights and embeddings, not norms and biases."""
        return self.std is not None

    def hf_names(self) -> list[str]:
        """Names of the Hugging Face tensors, one per layer."""
        return [self.hf_name.format(layer=layer) for layer in range(self.layers)] if self.layers else [self.hf_name]

    def to_hf(self, array: np.ndarray) -> np.ndarray:
        """One layer's weight in Hugging Face's layout."""
        order = [axis for group in self.hf_groups for axis in group]
        return np.ascontiguousarray(array.transpose(order).reshape(self.hf_shape))

    def from_hf(self, tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The piece of `shape` in our layout from the same piece of the Hugging Face tensor."""
        order = [axis for group in self.hf_groups for axis in group]
        return tensor.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))

    def init(self, key: jax.Array) -> jax.Array:
        """Float32 starting values; the key is folded with the name, so they do not depend on the other weights."""
        if self.std is None:
            return jnp.full(self.stacked_shape, self.fill, jnp.float32)
        key = jax.random.fold_in(key, zlib.crc32(self.hf_name.encode()))
        return self.std * jax.random.normal(key, self.stacked_shape, jnp.float32)

    def param(self) -> nnx.Param:
        """A placeholder Param of one layer, for the module tree."""
        return nnx.Param(jax.ShapeDtypeStruct(self.shape, jnp.float32))


def weight_table(spec: ModelSpec) -> dict[str, Any]:
    """The nested table of every weight of `spec`. Initialisers: spec/demo_world.md, "Model and pretraining"."""
    return _TABLES[spec.family](spec)


def _llama(spec: ModelSpec) -> dict[str, Any]:
    d, n, k, h, f = spec.d_model, spec.n_heads, spec.n_kv_heads, spec.head_dim, spec.d_mlp
    layer = "model.layers.{layer}."

    def linear(
        name: str, shape: tuple[int, ...], axes: tuple[str, ...], inputs: int, bias: bool, residual: bool = False
    ) -> dict[str, Weight]:
        fan_in = math.prod(shape[:inputs])
        std = fan_in**-0.5 / (math.sqrt(2 * spec.n_layers) if residual else 1)
        weights = {"kernel": Weight(f"{layer}{name}.weight", shape, axes, std, 0.0, inputs, spec.n_layers)}
        if bias:
            # A bias along the model width is small: replicated, like a norm.
            bias_axes = tuple("norm" if axis == "embed" else axis for axis in axes[inputs:])
            weights["bias"] = Weight(f"{layer}{name}.bias", shape[inputs:], bias_axes, layers=spec.n_layers)
        return weights

    def norm(name: str, layers: int = 0):
        return {"scale": Weight(f"{name}.weight", (d,), ("norm",), fill=1.0, layers=layers)}

    def vocabulary(name: str):
        return {"table": Weight(f"{name}.weight", (spec.vocab_size, d), ("vocab", "embed"), 0.02)}

    biased = spec.attention_bias
    table = {
        "embedding": vocabulary("model.embed_tokens"),
        "layers": {
            "attention_norm": norm(f"{layer}input_layernorm", spec.n_layers),
            "attention": {
                "q": linear("self_attn.q_proj", (d, n, h), ("embed", "heads", "head_dim"), 1, biased),
                "k": linear("self_attn.k_proj", (d, k, h), ("embed", "kv_heads", "head_dim"), 1, biased),
                "v": linear("self_attn.v_proj", (d, k, h), ("embed", "kv_heads", "head_dim"), 1, biased),
                "o": linear("self_attn.o_proj", (n, h, d), ("heads", "head_dim", "embed"), 2, biased, residual=True),
            },
            "mlp_norm": norm(f"{layer}post_attention_layernorm", spec.n_layers),
            "mlp": {
                "gate": linear("mlp.gate_proj", (d, f), ("embed", "mlp"), 1, spec.mlp_bias),
                "up": linear("mlp.up_proj", (d, f), ("embed", "mlp"), 1, spec.mlp_bias),
                "down": linear("mlp.down_proj", (f, d), ("mlp", "embed"), 1, spec.mlp_bias, residual=True),
            },
        },
        "final_norm": norm("model.norm"),
    }
    if not spec.tie_embeddings:
        # The output matrix is no lookup: it starts like any linear map of the model width.
        table["head"] = {"table": Weight("lm_head.weight", (spec.vocab_size, d), ("vocab", "embed"), d**-0.5)}
    return table


_TABLES = {"llama": _llama}
