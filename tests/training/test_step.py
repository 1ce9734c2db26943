"""The general training step: weighted loss, one update, any mesh, repeatable dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slick_jax.config import MeshConfig, PretrainConfig
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, abstract_state, init_state, mean_loss, train_step

SPEC = ModelSpec(vocab_size=48, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_mlp=32)
NETWORK = Network(SPEC)
STEP = jax.jit(train_step, static_argnums=(0, 1), static_argnames="dropout")
LOSS = jax.jit(mean_loss, static_argnums=0)
OPTIMIZER = make_optimizer(PretrainConfig(warmup_steps=0), 100, NETWORK.decay_mask())


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 48, (8, 7))
    weights = rng.choice([0.0, 0.5, 1.0], (8, 6))
    return Rows(jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:]), jnp.asarray(weights, jnp.float32))


@pytest.fixture(scope="module")
def state():
    return init_state(NETWORK, OPTIMIZER, jax.random.key(0))


def test_loss_is_the_weighted_mean_of_minus_log_probabilities(state, rows):
    logits = np.float64(NETWORK.logits(state.params, NETWORK.hidden(state.params, rows.tokens[None]).states[0]))
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = np.take_along_axis(logs, np.asarray(rows.targets)[..., None], -1)[..., 0]
    expected = -(picked * np.asarray(rows.weights)).sum() / np.asarray(rows.weights).sum()
    assert float(LOSS(NETWORK, state.params, rows)) == pytest.approx(expected, rel=1e-5)


def test_targets_of_weight_zero_do_not_matter(state, rows):
    other = rows._replace(targets=jnp.where(rows.weights == 0, 0, rows.targets))
    one, _ = STEP(NETWORK, OPTIMIZER, state, rows)
    two, _ = STEP(NETWORK, OPTIMIZER, state, other)
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


def test_rows_without_any_weight_give_a_finite_step(state, rows):
    new, loss = STEP(NETWORK, OPTIMIZER, state, rows._replace(weights=jnp.zeros_like(rows.weights)))
    assert float(loss) == 0.0 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new.params))


def test_a_step_follows_the_gradient(state, rows):
    """Plain SGD, so that the update shows the gradient; checked by central differences in one random direction."""
    sgd = optax.sgd(1.0)
    new, _ = STEP(NETWORK, sgd, state._replace(opt_state=sgd.init(state.params)), rows)
    gradient = jax.tree.map(lambda old, now: old - now, state.params, new.params)
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), state.params)
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: float(jnp.vdot(g, d)), gradient, direction)))

    def loss_along(distance):
        return float(LOSS(NETWORK, jax.tree.map(lambda p, d: p + distance * d, state.params, direction), rows))

    high, low = loss_along(1e-3), loss_along(-1e-3)
    assert (high - low) / 2e-3 == pytest.approx(slope, rel=2e-2)
    assert int(new.step) == int(state.step) + 1


def test_steps_learn_a_batch(state, rows):
    state, first = STEP(NETWORK, OPTIMIZER, state, rows)
    for _ in range(60):
        state, loss = STEP(NETWORK, OPTIMIZER, state, rows)
    assert float(loss) < 0.3 * float(first)


@pytest.mark.parametrize("sizes", [MeshConfig(8, 1, 1), MeshConfig(2, 2, 2), MeshConfig(1, 2, 4)])
def test_any_mesh_trains_alike(state, rows, sizes):
    plain = state
    mesh = make_mesh(sizes)
    with jax.set_mesh(mesh):
        sharded = init_state(NETWORK, OPTIMIZER, jax.random.key(0), mesh)
        wanted = abstract_state(NETWORK, OPTIMIZER, mesh)
        jax.tree.map(lambda leaf, place: _assert_equal(leaf.sharding, place.sharding), sharded, wanted)
        for _ in range(3):
            sharded, loss = STEP(NETWORK, OPTIMIZER, sharded, rows)
    for _ in range(3):
        plain, expected = STEP(NETWORK, OPTIMIZER, plain, rows)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), sharded.params, plain.params)


def test_dropout_hangs_on_the_step_number(state, rows):
    def loss_at(step):
        rng = jax.random.key(5)
        return float(STEP(NETWORK, OPTIMIZER, state._replace(step=jnp.int32(step)), rows, dropout=0.3, rng=rng)[1])

    assert loss_at(3) == loss_at(3) != loss_at(4)


def _assert_equal(left, right):
    assert left.spec == right.spec
