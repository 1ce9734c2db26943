"""One training step over rows of (tokens, targets, weights), whatever renders them: corpus, questions, long text."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from slick_jax.models.lora import join
from slick_jax.models.transformer import Network, Params


class TrainState(NamedTuple):
    """Everything a step changes; a checkpoint holds exactly this. With LoRA the parameters are the adapters."""

    step: jax.Array  # Int[], steps done
    params: Params
    opt_state: Any


class Rows(NamedTuple):
    """A batch: after reading `tokens[b, :t+1]` predict a target; targets of weight 0 are left out.

    The target of position t is `targets[b, t]`; with `positions`, `targets[b, a]` is that of t = `positions[b, a]`, and
    scores over the vocabulary are computed there alone.
    """

    tokens: jax.Array  # Int[B T]
    targets: jax.Array  # Int[B T], or Int[B A]
    weights: jax.Array  # Float32, like targets
    positions: jax.Array | None = None  # Int[B A]


class Measured(NamedTuple):
    """What a step tells: mean loss per target in nats, and the global norm of its gradient before clipping."""

    loss: jax.Array  # Float32[]
    gradient_norm: jax.Array  # Float32[]


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
    """A NamedSharding for every array: optimizer moments lie where their parameter lies, the rest everywhere.

    The rest are counters, and the row and column sums of Adafactor, which have another shape than the parameter.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    params = jax.tree_util.tree_leaves_with_path(network.abstract(mesh))
    places = {path: leaf for path, leaf in params}

    def place(path: tuple, leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        ends = (path[start:] for start in range(len(path)))
        param = next((places[end] for end in ends if end in places), None)
        return param.sharding if param is not None and param.shape == leaf.shape else everywhere

    opt_state = jax.tree_util.tree_map_with_path(place, jax.eval_shape(optimizer.init, network.abstract()))
    return TrainState(everywhere, network.shardings(mesh), opt_state)


def summed_loss(
    network: Network, params: Params, rows: Rows, *, dropout: float = 0.0, rng: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy in nats, weighted and summed over all targets; Float32[]."""
    states = network.hidden(params, rows.tokens[None], dropout=dropout, rng=rng).states[0]
    if rows.positions is not None:
        states = jnp.take_along_axis(states, rows.positions[..., None], axis=1)
    losses = optax.softmax_cross_entropy_with_integer_labels(network.logits(params, states), rows.targets)
    return jnp.sum(losses * rows.weights)


def mean_loss(
    network: Network, params: Params, rows: Rows, *, dropout: float = 0.0, rng: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy per target in nats, weighted; Float32[]."""
    total = summed_loss(network, params, rows, dropout=dropout, rng=rng)
    return total / jnp.maximum(jnp.sum(rows.weights), 1e-9)


def loss_and_gradients(
    network: Network,
    params: Params,
    rows: Rows,
    *,
    dropout: float,
    rng: jax.Array | None,
    accumulate: int,
    frozen: Params | None = None,
) -> tuple[jax.Array, Params]:
    """`mean_loss` of all rows and its gradients, computed in `accumulate` parts one after the other.

    Part a holds the rows a, a + accumulate, ...: each device goes on with rows it has. Sums are divided by the weight
    of the whole batch, so that the parts do not matter; dropout differs, as each part has a key of its own. `frozen`:
    parameters that are joined with `params` and have no gradients (the base model of adapters).
    """

    def gradients_of(loss: Callable, rows: Rows, rng: jax.Array | None) -> tuple[jax.Array, Params]:
        return jax.value_and_grad(lambda p: loss(network, join(frozen, p), rows, dropout=dropout, rng=rng))(params)

    if accumulate == 1:
        return gradients_of(mean_loss, rows, rng)
    parts = jax.tree.map(lambda a: a.reshape(-1, accumulate, *a.shape[1:]).swapaxes(0, 1), rows)

    def add(carry: tuple[jax.Array, Params], part: tuple[jax.Array, Rows]) -> tuple[tuple[jax.Array, Params], None]:
        key = None if rng is None else jax.random.fold_in(rng, part[0])
        return jax.tree.map(jnp.add, carry, gradients_of(summed_loss, part[1], key)), None

    start = (jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, params))
    total, _ = jax.lax.scan(add, start, (jnp.arange(accumulate), parts))
    weight = jnp.maximum(jnp.sum(rows.weights), 1e-9)
    return jax.tree.map(lambda leaf: leaf / weight, total)


def train_step(
    network: Network,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    rows: Rows,
    *,
    dropout: float = 0.0,
    rng: jax.Array | None = None,
    accumulate: int = 1,
    frozen: Params | None = None,
) -> tuple[TrainState, Measured]:
    """One update; returns the new state, and the loss and gradient before it. Pure: jit it with `state` donated.

    `rng` is the run's key; a step folds its own number into it, so that a resumed run draws the same dropout. See
    `loss_and_gradients` for `accumulate`, which divides the number of rows, and `frozen`.
    """
    rng = None if rng is None else jax.random.fold_in(rng, state.step)
    loss, gradients = loss_and_gradients(
        network, state.params, rows, dropout=dropout, rng=rng, accumulate=accumulate, frozen=frozen
    )
    gradients = network.constrained(gradients)  # or the compiler holds those of embeddings whole on every device
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    state = TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)
    return state, Measured(loss, optax.tree.norm(gradients))
