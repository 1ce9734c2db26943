"""The annotate stage: what lies on a device, from shapes, and the programs of `slick annotate` compiled for a mesh."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh

from slick_jax.config import Config
from slick_jax.knowledge.batches import Lanes
from slick_jax.knowledge.engine import IN_FLIGHT
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.pools import FREE_SHARE, Pools, slots_for
from slick_jax.knowledge.shapes import Shapes
from slick_jax.mesh import batch_sharding, batch_shards, sharding_for
from slick_jax.models.int8 import Int8Kernel, is_quantised, scale_of
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network, Params
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table
from slick_jax.planning.programs import Compiled, compile_program, on_a_device
from slick_jax.planning.questions import Questions

COMPILERS = 2  # programs that are compiled at the same time


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The device side of `slick annotate` on a mesh (an abstract one will do), every array described.

    bank: keys and values of a part's prefixes; prompts: what they are read from; in_flight: parts under way, each with
    a pool of its questions; states: what a large call gives.
    """

    mesh: Mesh | AbstractMesh
    network: Network
    params: Params
    device: Device
    shapes: Shapes
    prompts: tuple[jax.ShapeDtypeStruct, ...]
    bank: Any
    lanes: Lanes
    states: jax.ShapeDtypeStruct
    in_flight: int

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of a device that lie there throughout."""
        pools = self.device.pools
        return {
            "parameters": on_a_device(self.params),
            "caches of prefixes": on_a_device(self.bank),
            "caches of questions": self.in_flight * on_a_device(pools.abstract) if pools else 0,
            "states of a call": on_a_device(self.states),
        }

    def needed(self, program: Compiled) -> int:
        """Bytes of a device while a program runs, with what lies there but is not an argument of it."""
        return sum(self.memory.values()) + program.own


def annotation(
    spec: ModelSpec, config: Config, mesh: Mesh | AbstractMesh, questions: Questions, tokens: int, usable: float
) -> Annotation:
    """What `slick annotate` puts on `mesh`: weights as `config.model` holds them, calls of `tokens` a shard, and pools
    as `annotate.kept_gib` says, by default of what the weights leave of `usable` bytes."""
    settings, model = config.annotate, config.model
    network = Network(spec, model.dtype, model.precision, model.scan_layers)
    held = model.dtype if model.weights in ("", "int8") else model.weights
    params = abstract_params(network, mesh, jnp.dtype(held), int8=model.weights == "int8")
    shards = batch_shards(mesh)
    shapes = questions.shapes(shards, tokens)
    free = max(usable - on_a_device(params), 0) / FREE_SHARE
    size = free if settings.kept_gib is None else settings.kept_gib * 2**30
    in_flight = min(IN_FLIGHT, questions.parts)
    slots = slots_for(network, mesh, size, in_flight, questions.part_tokens, shapes)
    top_k = max(settings.top_k, *(pair[1] for pair in settings.exact_pairs), 1)
    program = Program(network, settings.drawn_samples, settings.top_k, top_k, spec.vocab_size, keeps=slots > 0)
    if not slots:
        shapes = dataclasses.replace(shapes, behind=())
    device = Device(
        program, params, mesh, seed=0, temperature=settings.temperature, prefix_length=questions.prefix_length,
        pools=Pools(network, mesh, slots) if slots else None,
    )  # fmt: skip
    rows = -(-questions.bank_slots // shards) * shards
    prompts = _batch(mesh, jnp.int32, rows, questions.prefix_length), _batch(mesh, jnp.int32, rows)
    bank = jax.tree.map(_placed, jax.eval_shape(network.prefix, params, *prompts), device.bank_sharding)
    length = shapes.lengths[-1]
    lanes = shapes.lanes(length)[0]
    lane = _batch(mesh, jnp.int32, lanes, length)
    states = sharding_for(mesh, ("batch", None, None), (lanes, length, spec.d_model))
    return Annotation(
        mesh, network, params, device, shapes, prompts, bank, Lanes(_batch(mesh, jnp.int32, lanes), lane, lane, lane),
        jax.ShapeDtypeStruct((lanes, length, spec.d_model), jnp.dtype(model.dtype), sharding=states),
        in_flight,
    )  # fmt: skip


def compile_programs(found: Annotation) -> list[Compiled]:
    """Every program of `found`, which stands on a mesh of devices, at its largest call.

    Raises JaxRuntimeError where one does not fit, and RuntimeError where the pool of questions would be copied.
    """
    chains: Sequence[Callable[[Annotation], list[Compiled]]] = (_of_states, _of_prefixes, _of_later_rounds)

    def in_mesh(chain: Callable[[Annotation], list[Compiled]]) -> list[Compiled]:
        with jax.set_mesh(found.mesh):  # a setting of the thread
            return chain(found)

    with concurrent.futures.ThreadPoolExecutor(COMPILERS) as threads:
        first, prefix, later = threads.map(in_mesh, chains)
    return [*prefix, first[0], *later, *first[1:]]


def _of_prefixes(found: Annotation) -> list[Compiled]:
    return [compile_program("prefix", found.device._prefix, (found.params, *found.prompts), found.mesh)[0]]


def _of_states(found: Annotation) -> list[Compiled]:
    """The first forward pass of questions, and what follows on it."""
    device, mesh, shapes = found.device, found.mesh, found.shapes
    arguments = found.params, found.bank, found.lanes
    program, made = compile_program("states", device._states, arguments, mesh)
    programs = [program]
    if device.pools:
        kept = jax.tree.map(_placed, jax.eval_shape(device._states, *arguments)[1], made.output_shardings[1])
        keep, _ = compile_program("keep", device._keep, (device.pools.abstract, kept, _small(np.int32(0))), mesh)
        if keep.memory.alias_size_in_bytes < on_a_device(device.pools.abstract):
            raise RuntimeError("the pool is copied when it is written")
        programs.append(keep)
    where, step, targets = [_batch(mesh, jnp.int32, device.shards, shapes.positions)] * 3
    names = _batch(mesh, jnp.uint32, device.shards, shapes.positions, 3)
    states = jax.ShapeDtypeStruct(found.states.shape, found.states.dtype, sharding=made.output_shardings[0])
    judged, made = compile_program("judged", device._judged, (states, where), mesh)
    taken = jax.ShapeDtypeStruct(
        (device.shards, shapes.positions, states.shape[-1]), states.dtype, sharding=made.output_shardings
    )
    given = found.params, taken, step, names, targets, _small(device.key), _small(device.temperature)
    return [*programs, judged, compile_program("decide", device._decide, given, mesh)[0]]


def _of_later_rounds(found: Annotation) -> list[Compiled]:
    """The forward pass behind kept questions: the call that sees most."""
    device, shapes, mesh = found.device, found.shapes, found.mesh
    if not device.pools:
        return []
    calls = [(shapes.lanes(length)[0], length, seen) for length, seen in shapes.behind]
    count, length, seen = max(calls, key=lambda call: call[0] * (device.prefix_length + call[2]))
    batch = functools.partial(_batch, mesh, jnp.int32)
    lane = batch(count, length)
    lanes = Lanes(batch(count), lane, lane, lane, batch(count, seen), lane, lane)
    arguments = found.params, found.bank, lanes, device.pools.abstract
    return [compile_program("states of later rounds", device._states, arguments, mesh)[0]]


def abstract_params(network: Network, mesh: Mesh | AbstractMesh, dtype: Any, int8: bool = False) -> Params:
    """`network.abstract`, with kernels in 8 bits where `int8` asks for them, as models/loading.py places them."""
    if not int8:
        return network.abstract(mesh, dtype)

    def placed(weight: Weight, dtype: Any) -> jax.ShapeDtypeStruct:
        sharding = sharding_for(mesh, weight.stacked_axes, weight.stacked_shape)
        return jax.ShapeDtypeStruct(weight.stacked_shape, dtype, sharding=sharding)

    def describe(weight: Weight) -> Any:
        if not is_quantised(weight):
            return placed(weight, dtype)
        return Int8Kernel(placed(weight, jnp.int8), placed(scale_of(weight), jnp.float32))

    return jax.tree.map(describe, weight_table(network.spec), is_leaf=lambda node: isinstance(node, Weight))


def _batch(mesh: Mesh | AbstractMesh, dtype: Any, *sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, dtype, sharding=batch_sharding(mesh, len(sizes)))


def _small(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(array), np.asarray(array).dtype)


def _placed(shape: jax.ShapeDtypeStruct, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)
