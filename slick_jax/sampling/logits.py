"""Token selection: greedy, top-k and Gumbel draws whose noise depends on identity alone.

One rule for every decoder of the package: logits in float32, ties to the lower token id, and the noise of a draw is a
function of (seed, example id, exemplar set, draw, answer position, token id), so that no result depends on batching,
padding, sharding or the order of work.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry2x32_p
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, UInt32

from slick_jax.mesh import partition_spec
from slick_jax.sampling.top_k import top_k as narrowed_top_k

LARGE_VOCABULARY = 16384  # from here on narrowing it down is faster


def run_key(seed: int) -> np.ndarray:
    """Key data (uint32[2]) of `jax.random.key(seed, impl='threefry2x32')`."""
    return np.asarray(jax.random.key_data(jax.random.key(seed, impl="threefry2x32")))


def _fold(key: tuple[Array, Array], data: Array) -> tuple[Array, Array]:
    """`jax.random.fold_in` on broadcasting key words: the hash of the counter (0, data)."""
    shape = jnp.broadcast_shapes(key[0].shape, data.shape)
    first, second, data = (jnp.broadcast_to(word, shape) for word in (*key, data.astype(jnp.uint32)))
    return tuple(threefry2x32_p.bind(first, second, jnp.zeros(shape, jnp.uint32), data))


def draw_keys(key: UInt32[Array, "2"], words: UInt32[Array, "... 3"], n_samples: int) -> tuple[Array, Array]:
    """Key words of the draws 1..n_samples of rows named by (id word 0, id word 1, exemplar slot).

    Returns two uint32 arrays [..., n_samples]; equal to folding `key` with the four numbers one after the other.
    """
    row = (key[0], key[1])
    for position in range(3):
        row = _fold(row, words[..., position])
    return _fold((row[0][..., None], row[1][..., None]), jnp.arange(1, n_samples + 1, dtype=jnp.uint32))


def gumbel(keys: tuple[Array, Array], position: Array, token: Array) -> Float[Array, "..."]:
    """Gumbel noise of `token` at answer position `position` (0 = first answer token) under a draw's key words.

    All arguments broadcast. u is the top 23 bits of word 0 of threefry2x32(key, (position, token)) as a fraction of 1.
    """
    arguments = (*keys, position.astype(jnp.uint32), token.astype(jnp.uint32))
    shape = jnp.broadcast_shapes(*(a.shape for a in arguments))
    bits, _ = threefry2x32_p.bind(*(jnp.broadcast_to(a, shape) for a in arguments))
    uniform = (bits >> jnp.uint32(9)).astype(jnp.float32) * jnp.float32(2.0**-23)
    return -jnp.log(-jnp.log(jnp.maximum(uniform, jnp.finfo(jnp.float32).tiny)))


def clean(logits: Float[Array, "... V"], n_tokens: int) -> Float[Array, "... V"]:
    """Logits in float32 without negative zeros, and with the rows a padded vocabulary adds masked out.

    `top_k` ranks -0.0 below 0.0, which is no rule of decoding; `x + 0.0` would do but XLA removes it.
    """
    logits = logits.astype(jnp.float32)
    logits = jnp.where(logits == 0.0, 0.0, logits)
    if n_tokens < logits.shape[-1]:
        logits = jnp.where(jnp.arange(logits.shape[-1]) < n_tokens, logits, -jnp.inf)
    return logits


def top_k(logits: Float[Array, "N V"], k: int) -> tuple[Float[Array, "N k"], Int[Array, "N k"]]:
    """The k largest logits and their ids, falling, ties to the lower id.

    2-D behind a barrier on purpose: fused into a larger program XLA's CPU backend turns it into a full sort. A large
    vocabulary is narrowed to the chunks that matter first.
    """
    if logits.shape[-1] >= LARGE_VOCABULARY:
        return narrowed_top_k(logits, k)[:2]
    return jax.lax.top_k(jax.lax.optimization_barrier(logits), min(k, logits.shape[-1]))


def top_k_of_shards(logits: Float[Array, "S M V"], k: int) -> tuple[Float[Array, "S M k"], Int[Array, "S M k"]]:
    """`top_k` of logits that lie cut over the mesh of `jax.set_mesh`, S over the batch and V over the vocabulary.

    Each device takes the k largest of its piece, and the k largest of those are found from them alone: the compiler
    would otherwise bring whole rows of the vocabulary together.
    """
    mesh, (_, positions, vocabulary) = jax.sharding.get_abstract_mesh(), logits.shape
    lies = None if mesh.empty else partition_spec(mesh, ("batch", None, "vocab"), logits.shape)

    def of_piece(piece: Float[Array, "s M v"]) -> tuple[Float[Array, "s M k"], Int[Array, "s M k"]]:
        values, ids = top_k(piece.reshape(-1, piece.shape[-1]), k)
        if piece.shape[-1] < vocabulary:
            ids = ids + jax.lax.axis_index(lies[2]) * piece.shape[-1]
            # Side by side in the order of the pieces: among equals the lower id still comes first.
            values, ids = (jax.lax.all_gather(found, lies[2], axis=1, tiled=True) for found in (values, ids))
            values, places = top_k(values, k)
            ids = jnp.take_along_axis(ids, places, axis=1)
        return tuple(found.reshape(-1, positions, found.shape[-1]) for found in (values, ids))

    if mesh.empty or mesh.size == 1:
        return of_piece(logits)
    out = PartitionSpec(*lies[:2], None)
    # Unchecked, as the check does not see that all devices of a vocabulary find the same.
    return jax.shard_map(of_piece, mesh=mesh, in_specs=lies, out_specs=(out, out), check_vma=False)(logits)


def draw(
    values: Float[Array, "... k"], ids: Int[Array, "... k"], noise: Float[Array, "... k"], temperature: Array
) -> Int[Array, "..."]:
    """The kept id with the largest logit / T + noise; equal scores go to the lower id."""
    score = values / temperature + noise
    best = jnp.max(score, axis=-1, keepdims=True)
    return jnp.min(jnp.where(score == best, ids, jnp.iinfo(jnp.int32).max), axis=-1)
