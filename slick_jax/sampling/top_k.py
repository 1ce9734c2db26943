"""The k largest scores inside a device loop, where XLA's CPU backend makes `lax.top_k` a sort of the vocabulary."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

CHUNKS = (128, 16)  # entries of a chunk, at each narrowing


def top_k(scores: Float[Array, "N V"], k: int) -> tuple[Float[Array, "N k"], Int[Array, "N k"], Bool[Array, ""]]:
    """The k largest of every row, falling, their ids (ties to the lower), and whether the rows' maxima are finite.

    Exact: an entry outside the k chunks with the largest maxima (ties to the lower chunk) comes behind k others, the
    maxima of those chunks. Only maxima, and the entries of the last few chunks, are sorted.
    """
    k = min(k, scores.shape[-1])
    finite = ~jnp.any(jnp.isnan(scores))  # a maximum does not pass NaN on, on XLA's CPU backend
    ids = None
    for size in CHUNKS:
        width = scores.shape[-1]
        if width <= 2 * k * size:
            continue
        padded = jnp.pad(scores, [(0, 0), (0, -width % size)], constant_values=-jnp.inf)
        chunks = padded.reshape(len(scores), -1, size)
        kept = jnp.sort(jax.lax.top_k(jnp.max(chunks, axis=-1), k)[1], axis=-1)  # in the order of ids
        inside = (kept[..., None] * size + jnp.arange(size)).reshape(len(scores), -1)
        scores = jnp.take_along_axis(chunks, kept[..., None], axis=1).reshape(len(scores), -1)
        ids = inside if ids is None else jnp.take_along_axis(ids, jnp.minimum(inside, width - 1), axis=1)
    values, places = jax.lax.top_k(scores, k)
    ids = places if ids is None else jnp.take_along_axis(ids, places, axis=1)
    return values, ids, finite & jnp.all(jnp.isfinite(values[:, 0]))
