"""The Optax chain against AdamW written out in numpy."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slick_jax.config import PretrainConfig, TrainConfig
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


@pytest.mark.parametrize(("schedule", "expected"), [("constant", [0, 0.5, 1, 1, 1]), ("cosine", [0, 0.5, 1, 0.5, 0])])
def test_schedules_of_fine_tuning(schedule, expected):
    rate = make_schedule(TrainConfig(schedule=schedule, peak_lr=1e-4, warmup_steps=2), 12)
    np.testing.assert_allclose([rate(step) for step in (0, 1, 2, 7, 12)], 1e-4 * np.array(expected), atol=1e-12)


def test_no_clipping_leaves_gradients_alone():
    params = {"matrix": jnp.ones((2, 2))}
    free, clipped = (
        make_optimizer(TrainConfig(clip_norm=norm, eps=1.0, peak_lr=1.0), 5, {"matrix": True}) for norm in (0.0, 1.0)
    )
    large = {"matrix": jnp.full((2, 2), 100.0)}
    moves = [jnp.abs(one.update(large, one.init(params), params)[0]["matrix"]).max() for one in (free, clipped)]
    assert moves[0] == pytest.approx(100 / 101, rel=1e-4) and moves[1] == pytest.approx(0.5 / 1.5, rel=1e-4)
