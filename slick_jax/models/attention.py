"""Rotary attention of rows that share a prefix.

Letters: G groups, B rows of a group, T tokens of a row, P prefix tokens of the group, N query heads, K key-value heads,
R = N / K query heads per key-value head, H head dim.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from slick_jax.models.layers import Linear
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight_table import Table


class Rotary(NamedTuple):
    """Cosines and sines of the rotary angles, in float32."""

    cos: Float[Array, "G 1 T 1 H/2"]
    sin: Float[Array, "G 1 T 1 H/2"]


class Prefix(NamedTuple):
    """One layer's keys and values of the shared prefixes; slots at or past the length are padding."""

    k: Float[Array, "G P K H"]
    v: Float[Array, "G P K H"]
    lengths: Int[Array, " G"]


class Attention(nnx.Module):
    """Grouped-query attention with rotary positions, causal within a row, over the group's prefix and the row."""

    def __init__(self, weights: Table, precision: str):
        self.q = Linear(weights["q"], precision)
        self.k = Linear(weights["k"], precision)
        self.v = Linear(weights["v"], precision)
        self.o = Linear(weights["o"], precision)
        self.precision = precision

    def __call__(
        self, x: Float[Array, "G B T D"], rotary: Rotary, prefix: Prefix | None
    ) -> tuple[Float[Array, "G B T D"], tuple[Float[Array, "G B T K H"], Float[Array, "G B T K H"]]]:
        """The attended branch, and the keys (rotated) and values of these tokens."""
        q, k, v = rotate(self.q(x), rotary), rotate(self.k(x), rotary), self.v(x)
        return self.o(shared_prefix_attention(q, k, v, prefix, self.precision)), (k, v)


def rotary_angles(spec: ModelSpec, positions: Int[Array, "G T"]) -> Rotary:
    """Angles at `positions`, in float32: bfloat16 cannot hold positions above 256."""
    angles = positions[:, None, :, None, None].astype(jnp.float32) * rotary_frequencies(spec)
    return Rotary(jnp.cos(angles), jnp.sin(angles))


def rotary_frequencies(spec: ModelSpec) -> Float[np.ndarray, " H/2"]:
    """Radians per token: theta^(-2i/H) (Su et al. 2021), stretched as `spec.rope_scaling` says (Llama 3.1)."""
    frequencies = 1.0 / spec.rope_theta ** (np.arange(0, spec.head_dim, 2, dtype=np.float64) / spec.head_dim)
    scaling = spec.rope_scaling
    if scaling is None:
        return frequencies.astype(np.float32)
    if scaling.kind == "linear":
        return (frequencies / scaling.factor).astype(np.float32)
    # llama3: wavelengths short against the original context stay, long ones are stretched, those between blend.
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    share = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = np.clip(share, 0.0, 1.0)
    return (frequencies * kept + frequencies / scaling.factor * (1.0 - kept)).astype(np.float32)


def rotate(x: Float[Array, "G B T N H"], rotary: Rotary) -> Float[Array, "G B T N H"]:
    """Rotates pairs (i, i + H/2) of every head, the order of Hugging Face weights."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = rotary
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def shared_prefix_attention(
    q: Float[Array, "G B T N H"],
    k: Float[Array, "G B T K H"],
    v: Float[Array, "G B T K H"],
    prefix: Prefix | None,
    precision: str,
) -> Float[Array, "G B T N H"]:
    """Attention of each row over its own tokens, causally, and over its group's prefix.

    Scores and softmax are float32 over both parts joined. The prefix part is one matmul per group and head with all
    B * R * T queries against the P keys, which are never repeated per row.
    """
    g, b, t, n, h = q.shape
    repeats = n // k.shape[3]
    einsum = functools.partial(jnp.einsum, precision=precision, preferred_element_type=jnp.float32)
    # Heads go in front once, so that every matmul below is batched over leading axes (30 % faster on CPU).
    q = (q * h**-0.5).reshape(g, b, t, -1, repeats, h).transpose(0, 3, 1, 4, 2, 5)  # [G K B R T H]
    k, v = k.transpose(0, 3, 1, 2, 4), v.transpose(0, 3, 1, 2, 4)
    own = einsum("gkbrth,gkbsh->gkbrts", q, k)
    own = jnp.where(jnp.tril(jnp.ones((t, t), bool)), own, -jnp.inf)
    top = jnp.max(own, axis=-1, keepdims=True)  # finite: every token sees itself
    if prefix is not None:
        past = einsum("gkbrth,gkph->gkbrtp", q, prefix.k.transpose(0, 2, 1, 3))
        seen = jnp.arange(prefix.k.shape[1]) < prefix.lengths[:, None]  # [G P]
        past = jnp.where(seen[:, None, None, None, None], past, -jnp.inf)
        top = jnp.maximum(top, jnp.max(past, axis=-1, keepdims=True))
    top = jax.lax.stop_gradient(top)  # it cancels
    own = jnp.exp(own - top)
    total = jnp.sum(own, axis=-1, keepdims=True)
    out = einsum("gkbrts,gkbsh->gkbrth", own.astype(v.dtype), v)
    if prefix is not None:
        past = jnp.exp(past - top)
        total = total + jnp.sum(past, axis=-1, keepdims=True)
        out = out + einsum("gkbrtp,gkph->gkbrth", past.astype(v.dtype), prefix.v.transpose(0, 2, 1, 3))
    return (out / total).transpose(0, 2, 4, 1, 3, 5).reshape(g, b, t, n, h).astype(v.dtype)
