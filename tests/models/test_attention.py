"""Shared-prefix attention against a loop over heads and queries, and the rotary frequencies."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.models.attention import Prefix, rotary_angles, rotary_frequencies, rotate, shared_prefix_attention
from slick_jax.models.spec import ModelSpec, RopeScaling


def spec(**changes):
    return ModelSpec(16, 8, 1, 2, 2, 64, 8, **changes)


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (6, 3), (4, 1)])
def test_against_a_loop_over_queries(heads, kv_heads):
    rng = np.random.default_rng(0)
    g, b, t, p, h = 2, 3, 4, 5, 6
    q = rng.standard_normal((g, b, t, heads, h)).astype(np.float32)
    k, v = rng.standard_normal((2, g, b, t, kv_heads, h)).astype(np.float32)
    pk, pv = rng.standard_normal((2, g, p, kv_heads, h)).astype(np.float32)
    lengths = np.array([3, 5])
    got = shared_prefix_attention(q, k, v, Prefix(jnp.asarray(pk), jnp.asarray(pv), jnp.asarray(lengths)), "highest")
    for i, j, s, n in np.ndindex(g, b, t, heads):
        shared = n // (heads // kv_heads)
        keys = np.concatenate([pk[i, : lengths[i], shared], k[i, j, : s + 1, shared]])
        values = np.concatenate([pv[i, : lengths[i], shared], v[i, j, : s + 1, shared]])
        weights = np.exp(keys @ q[i, j, s, n] / math.sqrt(h))
        np.testing.assert_allclose(got[i, j, s, n], weights @ values / weights.sum(), atol=1e-5)


def test_large_scores_do_not_overflow():
    q = jnp.full((1, 1, 2, 1, 2), 1e4)
    k, v = jnp.full((1, 1, 2, 1, 2), 1e4), jnp.ones((1, 1, 2, 1, 2))
    prefix = Prefix(jnp.full((1, 3, 1, 2), -1e4), jnp.zeros((1, 3, 1, 2)), jnp.array([2]))
    np.testing.assert_array_equal(shared_prefix_attention(q, k, v, prefix, "highest"), np.ones((1, 1, 2, 1, 2)))


def test_scores_depend_on_distance_alone():
    rng = np.random.default_rng(1)
    q, k = jnp.asarray(rng.standard_normal((2, 1, 1, 1, 1, 64)), jnp.float32)

    def score(at, other):
        turned = [rotate(x, rotary_angles(spec(), jnp.array([[n]]))) for x, n in ((q, at), (k, other))]
        return float(jnp.sum(turned[0] * turned[1]))

    assert score(7, 3) == pytest.approx(score(104, 100), abs=1e-3)
    assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-2)


def test_angles_of_far_positions_stay_apart():
    cos = rotary_angles(spec(), jnp.array([[4096, 4097]])).cos
    np.testing.assert_allclose(cos[0, 0, :, 0, 0], np.cos([4096.0, 4097.0]), atol=1e-3)


def test_linear_scaling_divides_every_frequency():
    scaled = rotary_frequencies(spec(rope_scaling=RopeScaling("linear", 4.0)))
    np.testing.assert_allclose(scaled, rotary_frequencies(spec()) / 4, rtol=1e-6)


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones():
    scaling = RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)
    plain = rotary_frequencies(spec(rope_theta=500000.0))
    scaled = rotary_frequencies(spec(rope_theta=500000.0, rope_scaling=scaling))
    wavelengths = 2 * math.pi / plain
    np.testing.assert_array_equal(scaled[wavelengths < 8192 / 4], plain[wavelengths < 8192 / 4])
    np.testing.assert_allclose(scaled[wavelengths > 8192], plain[wavelengths > 8192] / 8, rtol=1e-6)
    between = (wavelengths > 8192 / 4) & (wavelengths < 8192)
    assert between.any() and (scaled[between] < plain[between]).all() and (scaled[between] > plain[between] / 8).all()
