"""The parts of a decoder layer as NNX modules, whose Params come from the weight table.

Modules are only split and merged: the caller keeps the arrays in a plain pytree and everything runs under `jax.jit`.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from slick_jax.mesh import constrain
from slick_jax.models.int8 import product
from slick_jax.models.weight import Table

ACTIVATION_FUNCTIONS = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}


class Norm(nnx.Module):
    """Norm over the last axis, its statistics in float32 whatever the compute dtype.

    kind 'rms': x / rms(x) * scale (Zhang and Sennrich 2019); 'rms_plus_one': x / rms(x) * (1 + scale), in float32
    (Gemma); 'layer': (x - mean) / std * scale + bias (Ba et al. 2016).
    """

    def __init__(self, weights: Table, kind: str, eps: float):
        self.scale = weights["scale"].param()
        self.bias = weights["bias"].param() if "bias" in weights else None
        self.kind = kind
        self.eps = eps

    def __call__(self, x: Float[Array, "*lead D"]) -> Float[Array, "*lead D"]:
        wide = x.astype(jnp.float32)
        if self.kind == "layer":
            wide = wide - jnp.mean(wide, axis=-1, keepdims=True)
        wide = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + self.eps)
        if self.kind == "rms":
            return wide.astype(x.dtype) * self.scale[...].astype(x.dtype)
        scale = self.scale[...].astype(jnp.float32)
        if self.kind == "rms_plus_one":
            return (wide * (1.0 + scale)).astype(x.dtype)
        return (wide * scale + self.bias[...].astype(jnp.float32)).astype(x.dtype)


class LowRank(nnx.Module):
    """scale * dropout(x) A B, the part of a linear map that LoRA trains (models/lora.py)."""

    def __init__(self, weights: Table, precision: str):
        a, b = weights["a"], weights["b"]
        self.a, self.b = a.param(), b.param()
        self.inputs = a.inputs
        self.scale, self.rate, self.salt = a.lora.scale, a.lora.dropout, a.salt
        self.precision = precision

    def __call__(self, x: Float[Array, "*lead_inputs"], rng: jax.Array | None) -> Float[Array, "*lead_outputs"]:
        if rng is not None and self.rate:
            x = dropout(x, self.rate, jax.random.fold_in(rng, self.salt))
        low = jnp.tensordot(x, self.a[...].astype(x.dtype), self.inputs, precision=self.precision)
        return jnp.tensordot(low * self.scale, self.b[...].astype(x.dtype), 1, precision=self.precision)


class Linear(nnx.Module):
    """A linear map that sums over the leading `inputs` axes of its kernel, with a bias where the table has one.

    With an adapter, where the table has one; `rng` is for its dropout.
    """

    def __init__(self, weights: Table, precision: str):
        self.kernel = weights["kernel"].param()
        self.bias = weights["bias"].param() if "bias" in weights else None
        self.lora = LowRank(weights["lora"], precision) if "lora" in weights else None
        self.inputs, self.axes = weights["kernel"].inputs, weights["kernel"].stacked_axes[1:]
        self.precision = precision

    def __call__(
        self, x: Float[Array, "*lead_inputs"], rng: jax.Array | None = None
    ) -> Float[Array, "*lead_outputs"]:
        multiply = functools.partial(jnp.tensordot, axes=self.inputs, precision=self.precision)
        y = product(x, self.kernel.get_value(), multiply, self.axes)
        y = y if self.lora is None else y + self.lora(x, rng)
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


class SwiGLU(nnx.Module):
    """down(activation(gate(x)) * up(x)) (Shazeer 2020)."""

    def __init__(self, weights: Table, activation: str, precision: str):
        self.gate = Linear(weights["gate"], precision)
        self.up = Linear(weights["up"], precision)
        self.down = Linear(weights["down"], precision)
        self.activation = activation

    def __call__(self, x: Float[Array, "*lead D"], rng: jax.Array | None = None) -> Float[Array, "*lead D"]:
        return self.down(ACTIVATION_FUNCTIONS[self.activation](self.gate(x, rng)) * self.up(x, rng), rng)


class PlainMLP(nnx.Module):
    """down(activation(up(x))) (GPT-2)."""

    def __init__(self, weights: Table, activation: str, precision: str):
        self.up = Linear(weights["up"], precision)
        self.down = Linear(weights["down"], precision)
        self.activation = activation

    def __call__(self, x: Float[Array, "*lead D"], rng: jax.Array | None = None) -> Float[Array, "*lead D"]:
        return self.down(ACTIVATION_FUNCTIONS[self.activation](self.up(x, rng)), rng)


class Embedding(nnx.Module):
    """A table [V D] of tokens or positions: to vectors, and vectors to scores over the vocabulary."""

    def __init__(self, weights: Table, precision: str):
        self.table = weights["table"].param()
        self.rows = weights["table"].axes[0]
        self.precision = precision

    def __call__(self, tokens: Int[Array, "*lead"], dtype: str) -> Float[Array, "*lead D"]:
        """Vectors of `tokens`, gathered first, so that only the rows used are cast."""
        # Rows are gathered whole: a table cut along the width would clash with tokens cut over the same devices.
        return constrain(self.table[...], (self.rows, None))[tokens].astype(dtype)

    def scores(self, states: Float[Array, "*lead D"]) -> Float[Array, "*lead V"]:
        """Scores over the vocabulary, multiplied in the dtype of `states` and summed in float32."""
        return jnp.einsum(
            "...d,vd->...v",
            states,
            self.table[...].astype(states.dtype),
            precision=self.precision,
            preferred_element_type=jnp.float32,
        )


def dropout(x: Float[Array, "*shape"], rate: float, rng: jax.Array) -> Float[Array, "*shape"]:
    """Zeroes a share `rate` of the entries and scales the others by 1 / (1 - rate)."""
    keep = jax.random.bernoulli(rng, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0)
