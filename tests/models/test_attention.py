"""Shared-prefix attention against a loop over heads and queries."""

import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.models.attention import Prefix, shared_prefix_attention


@pytest.mark.parametrize("window, softcap", [(None, None), (1, None), (3, None), (6, 1.5), (None, 2.0)])
@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (6, 3), (4, 1)])
def test_against_a_loop_over_queries(heads, kv_heads, window, softcap):
    rng = np.random.default_rng(0)
    g, b, t, p, h = 2, 3, 4, 5, 6
    q = rng.standard_normal((g, b, t, heads, h)).astype(np.float32)
    k, v = rng.standard_normal((2, g, b, t, kv_heads, h)).astype(np.float32)
    pk, pv = rng.standard_normal((2, g, p, kv_heads, h)).astype(np.float32)
    lengths = np.array([3, 5])
    prefix = Prefix(jnp.asarray(pk), jnp.asarray(pv), jnp.asarray(lengths))
    got = shared_prefix_attention(
        q, k, v, prefix, "highest", scale=0.3, softcap=softcap, window=None if window is None else jnp.int32(window)
    )
    for i, j, s, n in np.ndindex(g, b, t, heads):
        shared = n // (heads // kv_heads)
        keys = np.concatenate([pk[i, : lengths[i], shared], k[i, j, : s + 1, shared]])
        values = np.concatenate([pv[i, : lengths[i], shared], v[i, j, : s + 1, shared]])
        seen = slice(0 if window is None else max(0, len(keys) - window), None)
        keys, values = keys[seen], values[seen]
        scores = keys @ q[i, j, s, n] * 0.3
        weights = np.exp(scores if softcap is None else softcap * np.tanh(scores / softcap))
        np.testing.assert_allclose(got[i, j, s, n], weights @ values / weights.sum(), atol=1e-5)


def test_large_scores_do_not_overflow():
    q = jnp.full((1, 1, 2, 1, 2), 1e4)
    k, v = jnp.full((1, 1, 2, 1, 2), 1e4), jnp.ones((1, 1, 2, 1, 2))
    prefix = Prefix(jnp.full((1, 3, 1, 2), -1e4), jnp.zeros((1, 3, 1, 2)), jnp.array([2]))
    got = shared_prefix_attention(q, k, v, prefix, "highest", scale=1.0)
    np.testing.assert_array_equal(got, np.ones((1, 1, 2, 1, 2)))
