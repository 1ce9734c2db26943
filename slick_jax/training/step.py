"""One training step over rows of (tokens, targets, weights), whatever renders them: corpus, questions, long text."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from slick_jax.models.transformer import Network, Params


class TrainState(NamedTuple):
    """Everything a step changes; a checkpoint holds exactly this."""

    step: jax.Array  # Int[], steps done
    params: Params
    opt_state: Any


class Rows(NamedTuple):
    """A batch: after reading `tokens[b, :t+1]` predict `targets[b, t]`; `weights` 0 leaves a position out."""

    tokens: jax.Array  # Int[B T]
    targets: jax.Array  # Int[B T]
    weights: jax.Array  # Float32[B T]


def init_state(
    network: Network, optimizer: optax.GradientTransformation, key: jax.Array, mesh: Mesh | None = None
) -> TrainState:
    """Fresh parameters and optimizer state at step 0, each array created where it will live."""

    def make(params: Params) -> TrainState:
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    params = network.init(key, mesh)
    return jax.jit(make, out_shardings=None if mesh is None else state_shardings(network, optimizer, mesh))(params)


def abstract_state(network: Network, optimizer: optax.GradientTransformation, mesh: Mesh | None = None) -> TrainState:
    """Shapes, dtypes and shardings of a training state (one device without a mesh): what a checkpoint is read into."""
    params = network.abstract()
    state = TrainState(jax.ShapeDtypeStruct((), jnp.int32), params, jax.eval_shape(optimizer.init, params))
    if mesh is None:
        return on_one_device(state)
    places = state_shardings(network, optimizer, mesh)
    return jax.tree.map(lambda leaf, at: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=at), state, places)


def on_one_device(abstract: Any) -> Any:
    """The abstract arrays of a tree, placed on the first device."""
    place = SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), abstract)


def state_shardings(network: Network, optimizer: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """A NamedSharding for every array: optimizer moments lie where their parameter lies, counters everywhere."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    params = network.shardings(mesh)
    moments = optax.tree_utils.tree_map_params(
        optimizer,
        lambda _, place: place,
        jax.eval_shape(optimizer.init, network.abstract()),
        params,
        transform_non_params=lambda _: everywhere,
    )
    return TrainState(everywhere, params, moments)


def mean_loss(
    network: Network, params: Params, rows: Rows, *, dropout: float = 0.0, rng: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy per target in nats, weighted; Float32[]."""
    states = network.hidden(params, rows.tokens[None], dropout=dropout, rng=rng).states[0]
    losses = optax.softmax_cross_entropy_with_integer_labels(network.logits(params, states), rows.targets)
    return jnp.sum(losses * rows.weights) / jnp.maximum(jnp.sum(rows.weights), 1e-9)


def train_step(
    network: Network,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    rows: Rows,
    *,
    dropout: float = 0.0,
    rng: jax.Array | None = None,
) -> tuple[TrainState, jax.Array]:
    """One update; returns the new state and the loss before it. Pure: jit it with `state` donated.

    `rng` is the run's key; a step folds its own number into it, so that a resumed run draws the same dropout.
    """
    rng = None if rng is None else jax.random.fold_in(rng, state.step)
    loss, gradients = jax.value_and_grad(lambda params: mean_loss(network, params, rows, dropout=dropout, rng=rng))(
        state.params
    )
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state), loss
