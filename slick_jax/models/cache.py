"""Keys and values that stay on the device: a pool of tokens forwarded before, and decoding one token a row.

Letters as in attention.py, and S shards (rows of a shard read keys of the same shard alone), N rows of a shard, C
chunks of up to B rows that read the same keys, T slots of a row's own cache.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NOWHERE = -1e30  # a score below all others that, unlike -inf, can be subtracted from itself


class Pool(NamedTuple):
    """Keys and values of every layer for the tokens of earlier calls, C slots a shard."""

    k: Float[Array, "*layers S C K H"]
    v: Float[Array, "*layers S C K H"]

    def written(self, k: Float[Array, "L G B T K H"], v: Float[Array, "L G B T K H"], start: Int[Array, ""]) -> "Pool":
        """With these tokens from slot `start` of every shard on, in the order of their rows."""

        def put(pool: jax.Array, part: jax.Array) -> jax.Array:
            part = part.reshape(*pool.shape[:2], -1, *pool.shape[3:])
            return jax.lax.dynamic_update_slice_in_dim(pool, part, start, axis=2)

        return Pool(put(self.k, k), put(self.v, v))

    def picked(
        self, layer: Int[Array, ""], slots: Int[Array, "G Q"]
    ) -> tuple[Float[Array, "S M K H"], Float[Array, "S M K H"]]:
        """Keys and values of a layer in these slots, each group's of its own shard. The layer is part of the index:
        sliced out before, all of it would be copied."""
        slots = slots.reshape(self.k.shape[1], -1)
        take = jax.vmap(lambda one, where: one[layer, where], in_axes=(1, 0))
        return take(self.k, slots), take(self.v, slots)


class Segment(NamedTuple):
    """Keys and values that several rows read: C chunks of up to B rows each.

    Slots at or past `lengths` are padding; the first slot stands at position `starts`. members: the row at each place
    of a chunk, any row where there is none; places: where in C * B each row stands.
    """

    k: Float[Array, "*layers S C K P H"]
    v: Float[Array, "*layers S C K P H"]
    lengths: Int[Array, "S C"]
    starts: Int[Array, "S C"]
    members: Int[Array, "S C B"]
    places: Int[Array, "S N"]


class Past(NamedTuple):
    """What the rows of a decoding step see: shared segments, and the first `filled` slots of their own cache.

    positions: of the tokens that are decoded now; a row's own slots stand right before it.
    """

    segments: tuple[Segment, ...]
    k: Float[Array, "*layers S N K T H"]
    v: Float[Array, "*layers S N K T H"]
    filled: Int[Array, ""]
    positions: Int[Array, "S N"]

    def arrays(self) -> tuple:
        """The keys and values, whose leading axis is the layer."""
        return tuple((one.k, one.v) for one in self.segments), (self.k, self.v)

    def of_layer(self, arrays: tuple) -> "Past":
        """This past with one layer of `arrays`."""
        shared, (k, v) = arrays
        segments = tuple(one._replace(k=k, v=v) for one, (k, v) in zip(self.segments, shared, strict=True))
        return self._replace(segments=segments, k=k, v=v)


class _Part(NamedTuple):
    """Attention over some of the keys, before division: sum of exp(score - top), and of the values weighted so."""

    top: Float[Array, "S N K R"]
    total: Float[Array, "S N K R"]
    out: Float[Array, "S N K R H"]


def past_attention(
    q: Float[Array, "M 1 1 Nq H"],
    k: Float[Array, "M 1 1 K H"],
    v: Float[Array, "M 1 1 K H"],
    past: Past,
    precision: str,
    *,
    scale: float,
    softcap: float | None = None,
    window: Int[Array, ""] | int | None = None,
) -> Float[Array, "M 1 1 Nq H"]:
    """Attention of M = S * N rows of one token each over their past and themselves.

    One float32 softmax over all scores; it is summed segment by segment, so that shared keys are read once per chunk
    and never repeated per row.
    """
    shards, rows, kv_heads = *past.positions.shape, k.shape[3]
    cap = (lambda scores: scores) if softcap is None else (lambda scores: softcap * jnp.tanh(scores / softcap))
    einsum = functools.partial(jnp.einsum, precision=precision, preferred_element_type=jnp.float32)
    query = (q * scale).reshape(shards, rows, kv_heads, -1, q.shape[-1])
    key, value = (one.reshape(shards, rows, kv_heads, 1, -1) for one in (k, v))

    itself = cap(jnp.sum(query.astype(jnp.float32) * key.astype(jnp.float32), axis=-1))
    parts = [_Part(itself, jnp.ones_like(itself), jnp.broadcast_to(value, query.shape).astype(jnp.float32))]
    for segment in past.segments:
        parts.append(_over_segment(query, segment, past.positions, cap, window, einsum))
    slots = jnp.arange(past.k.shape[-2])
    seen = slots < past.filled
    if window is not None:
        seen &= past.filled - slots < window
    scores = cap(einsum("snkrh,snkth->snkrt", query, past.k))
    parts.append(_summed(jnp.where(seen, scores, NOWHERE), past.v, "snkrt,snkth->snkrh", einsum))

    top = functools.reduce(jnp.maximum, [part.top for part in parts])
    shares = [jnp.exp(part.top - top) for part in parts]
    total = sum(part.total * share for part, share in zip(parts, shares, strict=True))
    out = sum(part.out * share[..., None] for part, share in zip(parts, shares, strict=True))
    return (out / total[..., None]).reshape(q.shape).astype(v.dtype)


def _over_segment(query, segment: Segment, positions, cap, window, einsum) -> _Part:
    """Attention of every row over the keys of its chunk."""
    chunks, chunk_rows = segment.members.shape[1:]
    gathered = pick(query, segment.members.reshape(len(query), -1))
    gathered = gathered.reshape(len(query), chunks, chunk_rows, *query.shape[2:]).swapaxes(2, 3)  # [S C K B R H]
    scores = cap(einsum("sckbrh,sckph->sckbrp", gathered, segment.k))
    slots = jnp.arange(segment.k.shape[-2])
    seen = (slots < segment.lengths[..., None])[:, :, None, None, None]
    if window is not None:
        queries = pick(positions, segment.members.reshape(len(query), -1)).reshape(segment.members.shape)
        behind = queries[..., None] - segment.starts[..., None, None] - slots  # [S C B P]
        seen &= (behind < window)[:, :, None, :, None]
    part = _summed(jnp.where(seen, scores, NOWHERE), segment.v, "sckbrp,sckph->sckbrh", einsum)

    def of_rows(found: jax.Array) -> jax.Array:
        found = found.swapaxes(2, 3)
        return pick(found.reshape(len(found), chunks * chunk_rows, *found.shape[3:]), segment.places)

    return _Part(*map(of_rows, part))


def _summed(scores, values, equation: str, einsum) -> _Part:
    """Scores, NOWHERE where nothing is seen, and values to their part of the softmax."""
    top = jnp.max(scores, axis=-1)
    weights = jnp.where(scores == NOWHERE, 0.0, jnp.exp(scores - top[..., None]))
    return _Part(top, jnp.sum(weights, axis=-1), einsum(equation, weights.astype(values.dtype), values))


def pick(array: Array, index: Int[Array, "S I"]) -> Array:
    """Entries `index` of axis 1, shard by shard."""
    return jax.vmap(lambda one, where: one[where])(array, index)
