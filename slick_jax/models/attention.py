"""Attention of rows that share a prefix.

Letters: G groups, B rows of a group, T tokens of a row, P prefix tokens of the group, N query heads, K key-value heads,
R = N / K query heads per key-value head, H head dim.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from slick_jax.models.cache import Past, past_attention
from slick_jax.models.layers import Linear, Norm
from slick_jax.models.rope import Rotary, rotate
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight import Table


class Prefix(NamedTuple):
    """One layer's keys and values of the shared prefixes; slots at or past the length are padding, and behind them are
    the slots of kept tokens, where there are any (`Forest.first`)."""

    k: Float[Array, "G P K H"]
    v: Float[Array, "G P K H"]
    lengths: Int[Array, " G"]


class Forest(NamedTuple):
    """Rows that hold token trees in place of one text each, in depth-first order: siblings continue the same tokens.

    depth: how many ancestors a token has; end: place behind its last descendant. A token sees its ancestors and itself.
    Padding is a tree of one token. first, last: where the oldest ancestors were forwarded before, they stand in the
    slots of the prefix from `first` up to `last`, and count in `depth`.
    """

    depth: Int[Array, "G B T"]
    end: Int[Array, "G B T"]
    first: Int[Array, "G B T"] | None = None
    last: Int[Array, "G B T"] | None = None


class Attention(nnx.Module):
    """Grouped-query attention, causal within a row, over the group's prefix and the row."""

    def __init__(self, spec: ModelSpec, weights: Table, precision: str):
        self.q = Linear(weights["q"], precision)
        self.k = Linear(weights["k"], precision)
        self.v = Linear(weights["v"], precision)
        self.o = Linear(weights["o"], precision)
        self.q_norm = Norm(weights["q_norm"], spec.norm, spec.norm_eps) if spec.qk_norm else None
        self.k_norm = Norm(weights["k_norm"], spec.norm, spec.norm_eps) if spec.qk_norm else None
        self.joined = spec.qk_norm == "full"  # heads are normed together, not one by one
        self.scale = spec.head_dim**-0.5 if spec.attention_scale is None else spec.attention_scale
        self.softcap = spec.attention_softcap
        self.precision = precision

    def __call__(
        self,
        x: Float[Array, "G B T D"],
        rotary: Rotary | None,
        prefix: Prefix | Past | None,
        window: Int[Array, ""] | None = None,
        rng: jax.Array | None = None,
        forest: Forest | None = None,
    ) -> tuple[Float[Array, "G B T D"], tuple[Float[Array, "G B T K H"], Float[Array, "G B T K H"]]]:
        """The attended branch, and the keys (normed and rotated) and values of these tokens."""
        q, k, v = self.q(x, rng), self.k(x, rng), self.v(x, rng)
        q, k = self._normed(self.q_norm, q), self._normed(self.k_norm, k)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        more = {"scale": self.scale, "softcap": self.softcap, "window": window}
        if isinstance(prefix, Past):
            out = past_attention(q, k, v, prefix, self.precision, **more)
        else:
            out = shared_prefix_attention(q, k, v, prefix, self.precision, **more, forest=forest)
        return self.o(out, rng), (k, v)

    def _normed(self, norm: Norm | None, x: Float[Array, "G B T N H"]) -> Float[Array, "G B T N H"]:
        if norm is None:
            return x
        return norm(x.reshape(*x.shape[:-2], -1)).reshape(x.shape) if self.joined else norm(x)


def shared_prefix_attention(
    q: Float[Array, "G B T N H"],
    k: Float[Array, "G B T K H"],
    v: Float[Array, "G B T K H"],
    prefix: Prefix | None,
    precision: str,
    *,
    scale: float,
    softcap: float | None = None,
    window: Int[Array, ""] | int | None = None,
    forest: Forest | None = None,
) -> Float[Array, "G B T N H"]:
    """Attention of each row over its own tokens, causally (along the trees of a `forest`), and over its group's prefix.

    With a `window` a query sees only that many tokens, itself included, those of the prefix among them. Scores and
    softmax are float32 over both parts joined. The prefix part is one matmul per group and head with all B * R * T
    queries against the P keys, which are never repeated per row.
    """
    g, b, t, n, h = q.shape
    repeats = n // k.shape[3]
    einsum = functools.partial(jnp.einsum, precision=precision, preferred_element_type=jnp.float32)
    cap = (lambda scores: scores) if softcap is None else (lambda scores: softcap * jnp.tanh(scores / softcap))
    # Heads go in front once, so that every matmul below is batched over leading axes (30 % faster on CPU).
    q = (q * scale).reshape(g, b, t, -1, repeats, h).transpose(0, 3, 1, 4, 2, 5)  # [G K B R T H]
    k, v = k.transpose(0, 3, 1, 2, 4), v.transpose(0, 3, 1, 2, 4)
    own = cap(einsum("gkbrth,gkbsh->gkbrts", q, k))
    place = jnp.arange(t)
    visible, depth = jnp.tril(jnp.ones((1, 1, t, t), bool)), place[None, None]  # [G B T S], [G B T]
    if forest is not None:
        visible, depth = visible & (place[:, None] < forest.end[:, :, None]), forest.depth
    if window is not None:
        visible &= depth[..., None] - depth[:, :, None] < window
    own = jnp.where(visible[:, None, :, None], own, -jnp.inf)
    top = jnp.max(own, axis=-1, keepdims=True)  # finite: every token sees itself
    if prefix is not None:
        past = cap(einsum("gkbrth,gkph->gkbrtp", q, prefix.k.transpose(0, 2, 1, 3)))
        slots = jnp.arange(prefix.k.shape[1])
        seen = (slots < prefix.lengths[:, None])[:, None, None]  # [G 1 1 P]
        stands = slots  # the position of a slot
        if forest is not None and forest.first is not None:
            first, last = forest.first[..., None], forest.last[..., None]
            kept = (first <= slots) & (slots < last)  # [G B T P]
            seen |= kept
            stands = jnp.where(kept, prefix.lengths[:, None, None, None] + slots - first, slots)
        if window is not None:
            behind = (prefix.lengths[:, None, None] + depth)[..., None] - stands  # [G B T P]
            seen &= behind < window
        past = jnp.where(seen[:, None, :, None], past, -jnp.inf)  # [G 1 B 1 T P]
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
