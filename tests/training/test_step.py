"""The general training step: weighted loss, one update, any mesh, repeatable dropout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from slick_jax.config import MeshConfig, PretrainConfig, TrainConfig
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.training.fine_tuning_data import Batches, TokenRow
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, abstract_state, init_state, loss_and_gradients, mean_loss, train_step

SPEC = ModelSpec(vocab_size=48, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_mlp=32)
NETWORK = Network(SPEC)
STEP = jax.jit(train_step, static_argnums=(0, 1), static_argnames=("dropout", "accumulate"))
LOSS = jax.jit(mean_loss, static_argnums=0)
GRADIENTS = jax.jit(loss_and_gradients, static_argnums=0, static_argnames=("dropout", "accumulate"))
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
    logits = jax.jit(lambda params, tokens: NETWORK.logits(params, NETWORK.hidden(params, tokens[None]).states[0]))
    logits = np.float64(logits(state.params, rows.tokens))
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
    new, (loss, _) = STEP(NETWORK, OPTIMIZER, state, rows._replace(weights=jnp.zeros_like(rows.weights)))
    assert float(loss) == 0.0 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new.params))


def test_a_step_follows_the_gradient(state, rows):
    """Plain SGD, so that the update shows the gradient; checked by central differences in one random direction."""
    sgd = optax.sgd(1.0)
    new, _ = STEP(NETWORK, sgd, state._replace(opt_state=sgd.init(state.params)), rows)
    params = jax.device_get(state.params)
    gradient = jax.tree.map(lambda old, now: old - now, params, jax.device_get(new.params))
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), params)
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: float(np.vdot(g, d)), gradient, direction)))

    def loss_along(distance):
        moved = jax.tree.map(lambda p, d: p + np.float32(distance) * d, params, direction)
        return float(LOSS(NETWORK, moved, rows))

    high, low = loss_along(1e-3), loss_along(-1e-3)
    assert (high - low) / 2e-3 == pytest.approx(slope, rel=2e-2)
    assert int(new.step) == int(state.step) + 1


def test_steps_learn_a_batch(state, rows):
    state, (first, _) = STEP(NETWORK, OPTIMIZER, state, rows)
    for _ in range(60):
        state, (loss, _) = STEP(NETWORK, OPTIMIZER, state, rows)
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
            sharded, (loss, _) = STEP(NETWORK, OPTIMIZER, sharded, rows)
    for _ in range(3):
        plain, (expected, _) = STEP(NETWORK, OPTIMIZER, plain, rows)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), sharded.params, plain.params)


def test_dropout_hangs_on_the_step_number(state, rows):
    def loss_at(step):
        rng = jax.random.key(5)
        return float(STEP(NETWORK, OPTIMIZER, state._replace(step=jnp.int32(step)), rows, dropout=0.3, rng=rng)[1].loss)

    assert loss_at(3) == loss_at(3) != loss_at(4)


def _assert_equal(left, right):
    assert left.spec == right.spec


def ragged(n=12):
    """Rows of two lengths, with a prompt of 3 tokens."""
    rng = np.random.default_rng(3)
    return [TokenRow(rng.integers(1, 48, 3 + rng.choice([2, 7])).astype(np.int32), 3) for _ in range(n)]


@jax.jit
@jax.value_and_grad
def summed_loss_of_row(params, tokens):
    """Over all tokens behind the first 3."""
    logits = NETWORK.logits(params, NETWORK.hidden(params, tokens[None, None, :-1]).states[0, 0])
    return -jax.nn.log_softmax(logits)[jnp.arange(2, len(tokens) - 1), tokens[3:]].sum()


def plain_loss_and_gradients(params, rows):
    """Of the mean loss over all targets of `rows`, each forwarded alone and without padding."""
    found = jax.device_get([summed_loss_of_row(params, row.tokens) for row in rows])
    count = sum(len(row.tokens) - row.n_prompt for row in rows)
    return jax.tree.map(lambda *parts: sum(parts) / np.float32(count), *found)


def norm_of(tree):
    return float(np.sqrt(sum(np.square(np.float64(leaf)).sum() for leaf in jax.tree.leaves(tree))))


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
@pytest.mark.parametrize("accumulate", [1, 4])
def test_fine_tuning_steps_are_plain_optax(state, name, accumulate):
    """With padding, short batches, accumulation and clipping on a mesh, against one plain chain on one device."""
    rows, settings = ragged(), TrainConfig(optimizer=name, peak_lr=1e-3, clip_norm=0.3, weight_decay=0.1)
    inner = {
        "adamw": optax.adamw(1e-3, eps=1e-8, weight_decay=0.1, mask=NETWORK.decay_mask()),
        "adafactor": optax.adafactor(1e-3, weight_decay_rate=1e-4, weight_decay_mask=NETWORK.decay_mask()),
    }[name]
    plain = optax.chain(optax.clip_by_global_norm(0.3), inner)
    params, plain_state = state.params, jax.jit(plain.init)(state.params)

    @jax.jit
    def update(gradients, plain_state, params):
        updates, plain_state = plain.update(gradients, plain_state, params)
        return optax.apply_updates(params, updates), plain_state

    optimizer = make_optimizer(settings, 10, NETWORK.decay_mask())
    mesh = make_mesh(MeshConfig(1, 2, 1), jax.devices()[:2])
    with jax.set_mesh(mesh):
        ours = init_state(NETWORK, optimizer, jax.random.key(0), mesh)
    for batch in Batches(rows, batch_size=8, epochs=2, seed=0, multiple=2 * accumulate):
        with jax.set_mesh(mesh):
            ours, (loss, norm) = STEP(NETWORK, optimizer, ours, batch.rows, accumulate=accumulate)
        expected, gradients = plain_loss_and_gradients(params, [rows[index] for index in batch.index])
        assert norm_of(gradients) > 0.3
        params, plain_state = update(gradients, plain_state, params)
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
        assert float(norm) == pytest.approx(norm_of(gradients), rel=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), ours.params, params)


def test_gradients_of_parts_are_those_of_the_batch(state):
    (batch,) = Batches(ragged(8), batch_size=8, epochs=1, seed=0)
    whole, parts = (
        GRADIENTS(NETWORK, state.params, batch.rows, dropout=0.0, rng=None, accumulate=n) for n in (1, 4)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, parts)


def test_moments_lie_with_their_parameters_and_factored_ones_everywhere():
    mesh = make_mesh(MeshConfig(1, 4, 2))
    spec = dataclasses.replace(SPEC, d_model=128, d_mlp=256)
    network = Network(spec)
    for name, factored in (("adamw", False), ("adafactor", True)):
        optimizer = make_optimizer(TrainConfig(optimizer=name), 10, network.decay_mask())
        wanted = abstract_state(network, optimizer, mesh)
        shape = wanted.params["layers"]["mlp"]["gate"]["kernel"].shape
        same = [leaf for leaf in jax.tree.leaves(wanted.opt_state) if leaf.shape == shape]
        assert bool(same) != factored
        assert all(leaf.sharding == wanted.params["layers"]["mlp"]["gate"]["kernel"].sharding for leaf in same)
        jax.tree.map(lambda leaf: leaf.sharding.shard_shape(leaf.shape), wanted.opt_state)  # every one fits
