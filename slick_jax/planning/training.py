"""The training stage: what lies on a device, from shapes, and the training step compiled for a mesh."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jax.sharding import AbstractMesh, Mesh

from slick_jax.config import TrainConfig
from slick_jax.mesh import batch_sharding, batch_shards, partition_spec, replicated
from slick_jax.models.flops import forward_flops
from slick_jax.models.lora import join
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network, Params
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table
from slick_jax.planning.programs import Compiled, compile_program, on_a_device
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, TrainState, abstract_state, state_shardings, summed_loss, train_step

# Passes over a layer's products: forward, for its input and for its weights; `remat` repeats the first.
FROZEN_PASSES, PASSES = 2, 3


@dataclasses.dataclass(frozen=True)
class Training:
    """One training step on a mesh (an abstract one will do), every array described; frozen: the base of adapters."""

    mesh: Mesh | AbstractMesh
    settings: TrainConfig
    network: Network
    optimizer: Any
    state: TrainState
    frozen: Params | None
    rows: Rows

    @functools.cached_property
    def memory(self) -> dict[str, int]:
        """Bytes of a device at the peak of a step. Activations are what the forward pass keeps for the backward one,
        traced on a device's share of rows and model; working space is the largest weight, gathered and with its
        gradient, the scores' gradient, and under `remat` the layer that is computed again."""
        kept, widened = self._kept
        parts = {
            "parameters": on_a_device(self.state.params),
            "frozen parameters": on_a_device(self.frozen),
            "optimizer state": on_a_device(self.state.opt_state),
            "gradients": on_a_device(self.state.params) * (1 if self.settings.accumulate == 1 else 2),
            # Adafactor scales an update by its own size, so that it is there whole before it is added.
            "updates": on_a_device(self.state.params) * (self.settings.optimizer == "adafactor"),
            "activations": kept,
            "weights in the compute type": widened,
            "working space": self._working,
        }
        return {name: size for name, size in parts.items() if size}

    @property
    def held(self) -> int:
        """Bytes of a device that lie there between steps."""
        return on_a_device((self.state.params, self.state.opt_state, self.frozen))

    def flops(self, tokens: float, row: float, targets: float) -> float:
        """FLOPs of training on `tokens` in rows of `row`, `targets` of which are scored; the optimizer left out."""
        spec, passes = self.network.spec, PASSES if self.frozen is None else FROZEN_PASSES
        parts = forward_flops(spec, tokens, tokens * (row + 1) / 2, targets)
        again = {"full": ("linear", "attention"), "dots": ("attention",)}.get(self.network.remat, ())
        return 2.0 * PASSES * self._adapters * tokens + sum(parts[name] * (passes + (name in again)) for name in parts)

    def asking(self, tokens: float, row: float, judged: float) -> float:
        """FLOPs of questions of `tokens`, `row` tokens each, of which `judged` positions are looked at."""
        parts = forward_flops(self.network.spec, tokens, tokens * (row + 1) / 2, judged)
        return 2.0 * self._adapters * tokens + sum(parts.values())

    @property
    def _adapters(self) -> int:
        """Numbers in the adapters; 0 without."""
        return 0 if self.frozen is None else sum(leaf.size for leaf in jax.tree.leaves(self.state.params))

    @property
    def moved(self) -> float:
        """Bytes that a device reads or writes in a step, at the least: its share of the weights, gathered, for every
        pass; parameters, moments and gradients for the update; activations out and in again."""
        item = jnp.dtype(self.network.dtype).itemsize
        weights = sum(math.prod(weight.stacked_shape) for weight in _weights(self.network.spec)) * item
        weights /= self.mesh.shape["tensor"]
        passes = (PASSES + (self.network.remat == "full")) * self.settings.accumulate
        update = 2 * on_a_device((self.state.params, self.state.opt_state)) + 2 * on_a_device(self.state.params)
        return passes * weights + update + 2 * self._kept[0] * self.settings.accumulate

    @property
    def _share(self) -> tuple[Network, Rows]:
        """What one device computes: its rows of one part of the batch, its heads and its columns of MLP and
        vocabulary."""
        spec, tensor = self.network.spec, self.mesh.shape["tensor"]
        cut = {name: getattr(spec, name) // tensor for name in ("n_heads", "n_kv_heads", "d_mlp", "vocab_size")
               if getattr(spec, name) % tensor == 0}  # fmt: skip
        if spec.n_kv_heads % tensor:
            cut["n_kv_heads"] = math.gcd(spec.n_kv_heads, cut.get("n_heads", spec.n_heads))
        if spec.moe is not None and spec.moe.d_mlp % tensor == 0:
            cut["moe"] = dataclasses.replace(spec.moe, d_mlp=spec.moe.d_mlp // tensor)
        network = dataclasses.replace(self.network, spec=dataclasses.replace(spec, **cut))
        parts = batch_shards(self.mesh) * self.settings.accumulate
        share = jax.tree.map(lambda a: jax.ShapeDtypeStruct((a.shape[0] // parts, *a.shape[1:]), a.dtype), self.rows)
        return network, share

    @functools.cached_property
    def _kept(self) -> tuple[int, int]:
        """(activations, weights widened or rounded to the compute type) that the backward pass needs: bytes of a
        device. Activations grow with the rows; what does not is cut as the weights are."""
        return self._kept_by(self.network.remat)

    def _kept_by(self, remat: str) -> tuple[int, int]:
        network, rows = self._share
        network = dataclasses.replace(network, remat=remat)
        twice = jax.tree.map(lambda a: jax.ShapeDtypeStruct((2 * a.shape[0], *a.shape[1:]), a.dtype), rows)
        one, two = (self._residuals(network, batch) for batch in (rows, twice))
        return two - one, (2 * one - two) // self.mesh.shape["fsdp"]

    def _residuals(self, network: Network, rows: Rows) -> int:
        """Bytes that the forward pass computes and the backward pass takes."""
        base, key = None, jax.eval_shape(lambda: jax.random.key(0))
        if self.frozen is not None:
            base = dataclasses.replace(network, lora=None).abstract(dtype=jax.tree.leaves(self.frozen)[0].dtype)

        def forward(params: Params, base: Params | None, rows: Rows, key: jax.Array) -> Any:
            def loss(params: Params) -> jax.Array:
                return summed_loss(network, join(base, params), rows, dropout=self.settings.dropout, rng=key)

            return jax.vjp(loss, params)

        jaxpr = jax.make_jaxpr(forward)(network.abstract(), base, rows, key).jaxpr
        given = set(jaxpr.invars)
        kept = {var for var in jaxpr.outvars if not isinstance(var, Literal)} - given
        return sum(var.aval.size * var.aval.dtype.itemsize for var in kept)

    @property
    def _working(self) -> int:
        network, rows = self._share
        sizes = [math.prod(weight.shape) for weight in _weights(network.spec)]
        item = jnp.dtype(self.network.dtype).itemsize
        gathered = 2 * max(sizes) * item if self.mesh.shape["fsdp"] > 1 else 0
        again = 0
        if self.network.remat != "none":
            again = (self._kept_by("none")[0] - self._kept[0]) // network.spec.n_layers
        return gathered + again + math.prod(rows.targets.shape) * network.spec.vocab_size * 4


def training(
    network: Network, settings: TrainConfig, mesh: Mesh | AbstractMesh, length: int, targets: int
) -> Training:
    """A step of `slick train` of rows of `length` tokens with up to `targets` targets each."""
    optimizer = make_optimizer(settings, 1, network.decay_mask())
    multiple = settings.accumulate * batch_shards(mesh)
    size = -(-settings.batch_size // multiple) * multiple
    state = abstract_state(network, optimizer, mesh)
    frozen = None
    if network.lora is not None:
        frozen = dataclasses.replace(network, lora=None).abstract(mesh, jnp.dtype(settings.lora.base_dtype))

    def batch(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh, len(shape)))

    answers = batch(jnp.int32, size, targets)
    rows = Rows(batch(jnp.int32, size, length), answers, batch(jnp.float32, size, targets), answers)
    return Training(mesh, settings, network, optimizer, state, frozen, rows)


def compile_step(found: Training) -> Compiled:
    """The step as `slick train` runs it, compiled for the devices of its mesh."""
    step = functools.partial(
        train_step, found.network, found.optimizer, dropout=found.settings.dropout,
        accumulate=found.settings.accumulate,
    )  # fmt: skip
    places = state_shardings(found.network, found.optimizer, found.mesh), replicated(found.mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=replicated(found.mesh))
    program = jax.jit(step, donate_argnums=0, out_shardings=places)
    with jax.set_mesh(found.mesh):
        arguments = found.state, found.rows
        return compile_program("training step", program, arguments, found.mesh, rng=key, frozen=found.frozen)[0]


def traffic(found: Training) -> collections.Counter:
    """Bytes that a device receives in a step, from shapes: weights gathered over fsdp for every pass and their
    gradients scattered back (float32), gradients summed over data, and activations summed over tensor, twice a layer
    and pass."""
    spec, mesh, settings = found.network.spec, found.mesh, found.settings
    item, received = jnp.dtype(found.network.dtype).itemsize, collections.Counter()
    fsdp, data, tensor = (mesh.shape[axis] for axis in ("fsdp", "data", "tensor"))
    again = found.network.remat == "full"
    for weight in _weights(spec):
        spread = partition_spec(mesh, weight.stacked_axes, weight.stacked_shape)
        size = math.prod(weight.stacked_shape) / (tensor if "tensor" in spread else 1)
        if "fsdp" in spread:
            received["fsdp",] += (2 + again) * settings.accumulate * size * item * (fsdp - 1) / fsdp
            received["fsdp",] += size * 4 * (fsdp - 1) / fsdp if found.frozen is None else 0
        if found.frozen is None:
            received["data",] += 2 * size * 4 / (fsdp if "fsdp" in spread else 1) * (data - 1) / data
    tokens = math.prod(found.rows.tokens.shape) / batch_shards(mesh)
    received["tensor",] += (4 + 2 * again) * spec.n_layers * 2 * tokens * spec.d_model * item * (tensor - 1) / tensor
    return received


def _weights(spec: ModelSpec) -> list[Weight]:
    return jax.tree.leaves(weight_table(spec), is_leaf=lambda node: isinstance(node, Weight))
