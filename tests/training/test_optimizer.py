"""The Optax chain against AdamW written out in numpy."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slick_jax.config import PretrainConfig
from slick_jax.training.optimizer import make_optimizer, make_schedule

SETTINGS = PretrainConfig(peak_lr=1e-2, warmup_steps=4, final_lr_fraction=0.1, weight_decay=0.1, b2=0.95, clip_norm=1.0)


def expected_rate(step, n_steps=20):
    if step < 4:
        return 1e-2 * step / 4
    share = min((step - 4) / (n_steps - 4), 1.0)
    return 1e-2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))


@pytest.mark.parametrize("step", [0, 1, 3, 4, 5, 12, 19, 20, 30])
def test_schedule(step):
    assert float(make_schedule(SETTINGS, 20)(step)) == pytest.approx(expected_rate(step), rel=1e-5, abs=1e-9)


def test_schedule_without_warmup_starts_at_the_peak():
    assert float(make_schedule(PretrainConfig(warmup_steps=0, peak_lr=0.5), 10)(0)) == pytest.approx(0.5)


def test_schedule_of_a_run_shorter_than_its_warmup():
    assert float(make_schedule(PretrainConfig(warmup_steps=100, peak_lr=1.0), 10)(9)) == pytest.approx(0.09)


def test_updates_are_adamw_with_clipping_and_decay_of_matrices_only():
    rng = np.random.default_rng(0)
    params = {"matrix": rng.normal(size=(3, 2)), "norm": rng.normal(size=2)}
    gradients = [{name: rng.normal(size=p.shape) * scale for name, p in params.items()} for scale in (5.0, 0.01, 1.0)]
    optimizer = make_optimizer(SETTINGS, 20, {"matrix": True, "norm": False})
    ours = {name: jnp.asarray(p, jnp.float32) for name, p in params.items()}
    state = optimizer.init(ours)
    first = {name: np.zeros_like(p) for name, p in params.items()}
    second = {name: np.zeros_like(p) for name, p in params.items()}
    for step, gradient in enumerate(gradients):
        norm = math.sqrt(sum((g**2).sum() for g in gradient.values()))
        for name, g in gradient.items():
            g = g * min(1.0, 1.0 / norm)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.95 * second[name] + 0.05 * g**2
            scale = np.sqrt(second[name] / (1 - 0.95 ** (step + 1))) + 1e-8
            direction = first[name] / (1 - 0.9 ** (step + 1)) / scale
            decay = 0.1 * params[name] if name == "matrix" else 0.0
            params[name] = params[name] - expected_rate(step) * (direction + decay)
        updates, state = optimizer.update({n: jnp.asarray(g, jnp.float32) for n, g in gradient.items()}, state, ours)
        ours = optax.apply_updates(ours, updates)
    for name in params:
        np.testing.assert_allclose(ours[name], params[name], rtol=1e-5, atol=1e-6)
