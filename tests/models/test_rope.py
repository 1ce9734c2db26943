"""Rotary positions: their invariances, and the scalings of the frequencies."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.models.rope import rotary_angles, rotary_frequencies, rotate
from slick_jax.models.spec import ModelSpec, RopeScaling


def spec(**changes):
    return ModelSpec(16, 8, 1, 2, 2, 64, 8, **changes)


def test_scores_depend_on_distance_alone():
    rng = np.random.default_rng(1)
    q, k = jnp.asarray(rng.standard_normal((2, 1, 1, 1, 1, 64)), jnp.float32)

    def score(at, other):
        turned = [rotate(x, rotary_angles(spec(), jnp.array([[[n]]]))) for x, n in ((q, at), (k, other))]
        return float(jnp.sum(turned[0] * turned[1]))

    assert score(7, 3) == pytest.approx(score(104, 100), abs=1e-3)
    assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-2)


def test_angles_of_far_positions_stay_apart():
    cos = rotary_angles(spec(), jnp.array([[[4096, 4097]]])).cos
    np.testing.assert_allclose(cos[0, 0, :, 0, 0], np.cos([4096.0, 4097.0]), atol=1e-3)


def test_linear_scaling_divides_every_frequency():
    scaled = rotary_frequencies(64, 10000.0, RopeScaling("linear", 4.0))
    np.testing.assert_allclose(scaled, rotary_frequencies(64, 10000.0) / 4, rtol=1e-6)


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones():
    plain = rotary_frequencies(64, 500000.0)
    scaled = rotary_frequencies(64, 500000.0, RopeScaling("llama3", 8.0, 1.0, 4.0, 8192))
    wavelengths = 2 * math.pi / plain
    np.testing.assert_array_equal(scaled[wavelengths < 8192 / 4], plain[wavelengths < 8192 / 4])
    np.testing.assert_allclose(scaled[wavelengths > 8192], plain[wavelengths > 8192] / 8, rtol=1e-6)
    between = (wavelengths > 8192 / 4) & (wavelengths < 8192)
    assert between.any() and (scaled[between] < plain[between]).all() and (scaled[between] > plain[between] / 8).all()


def test_yarn_keeps_fast_entries_and_stretches_slow_ones():
    plain = rotary_frequencies(64, 10000.0)
    scaled = rotary_frequencies(64, 10000.0, RopeScaling("yarn", 4.0, original_max_position_embeddings=4096))
    ratio = scaled / plain
    assert ratio[0] == 1 and ratio[-1] == pytest.approx(0.25) and (np.diff(ratio) <= 1e-6).all()


def test_longrope_divides_every_entry_by_its_own_factor():
    factors = tuple(np.linspace(1, 3, 32))
    scaled = rotary_frequencies(64, 10000.0, RopeScaling("longrope", short_factor=factors))
    np.testing.assert_allclose(scaled, rotary_frequencies(64, 10000.0) / np.array(factors), rtol=1e-6)


def test_layers_of_different_ropes():
    rotary = rotary_angles(
        spec(ropes=("local", "none"), local_rope_theta=100.0, rope_theta=10.0), jnp.array([[0, 5]])
    )
    assert rotary.cos.shape == (2, 1, 1, 2, 1, 32)
    np.testing.assert_array_equal(rotary.cos[1], 1)  # no rope: the identity
    expected = np.cos(5 * rotary_frequencies(64, 100.0))
    np.testing.assert_allclose(rotary.cos[0, 0, 0, 1, 0], expected, atol=1e-6)


def test_part_of_a_head_is_left_as_it_is():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 1, 1, 1, 64)), jnp.float32)
    turned = rotate(x, rotary_angles(spec(rotary_dim=16), jnp.array([[[3]]])))
    np.testing.assert_array_equal(turned[..., 16:], x[..., 16:])
    assert np.abs(turned[..., :16] - x[..., :16]).max() > 0.1
