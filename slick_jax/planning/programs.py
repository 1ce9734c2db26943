"""Programs compiled to be looked at, never run: their memory, and what the devices send each other."""

from __future__ import annotations

import collections
import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh

from slick_jax.planning.collectives import Collective, collectives_of
from slick_jax.planning.devices import Kind


@dataclasses.dataclass(frozen=True)
class Compiled:
    """One program: seconds of compilation, what the compiler says of its memory, FLOPs of a device (a loop's body
    counted once), its collectives, its text, and the sizes and platform of the mesh;
    unread: why its collectives could not be counted, else empty."""

    name: str
    seconds: float
    memory: Any  # Compiled.memory_analysis()
    flops: float
    collectives: list[Collective]
    text: str
    sizes: Mapping[str, int]
    platform: str
    unread: str = ""

    @property
    def own(self) -> int:
        """Bytes of a device that it takes besides its arguments, at the most at once."""
        memory = self.memory
        if self.platform == "cpu":  # whose compiler counts no temporaries in its peak; that of TPUs keeps it to the HBM
            return memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
        return memory.peak_memory_in_bytes - memory.argument_size_in_bytes

    def received(self) -> collections.Counter:
        """Bytes that a device receives in a run of the program, by the mesh axes along which they come."""
        found: collections.Counter = collections.Counter()
        for one in self.collectives:
            devices = math.prod(self.sizes[axis] for axis in one.axes)
            found[one.axes] += wire_bytes(one.kind, one.bytes, devices) * one.times
        return found


def compile_program(name: str, program: Any, arguments: tuple, mesh: Mesh, **keywords: Any) -> tuple[Compiled, Any]:
    """`program` (of jax.jit) compiled for these abstract arguments; and what JAX made of it."""
    start = time.perf_counter()
    quick = {"xla_backend_optimization_level": 0}  # of machine code, which nobody runs: half the time, the same memory
    platform = mesh.devices.flat[0].platform
    made = program.lower(*arguments, **keywords).compile(quick if platform == "cpu" else None)
    seconds, text = time.perf_counter() - start, made.as_text()
    flops = (made.cost_analysis() or {}).get("flops", 0.0)
    found, unread = [], ""
    try:
        found = collectives_of(text, mesh)
    except ValueError as error:  # compilers write what no version before them has written
        unread = str(error)
    return Compiled(name, seconds, made.memory_analysis(), flops, found, text, dict(mesh.shape), platform, unread), made


def wire_bytes(kind: str, size: float, devices: int) -> float:
    """Bytes that a device receives for a collective whose result has `size` bytes there, on a ring of `devices`."""
    others = max(devices - 1, 0)
    if kind == "reduce-scatter":
        return size * others
    return size * others / devices * (2 if kind == "all-reduce" else 1) if kind != "collective-permute" else size


def on_a_device(tree: Any) -> int:
    """Bytes that arrays of these shapes and shardings take on one device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(tree)
    )


def link_seconds(received: collections.Counter, kind: Kind, mesh: AbstractMesh) -> float:
    """Seconds in which a device receives these bytes, the axes of the mesh one after the other."""
    total = 0.0
    for axes, size in received.items():
        if axes:
            first = min(mesh.axis_names.index(axis) for axis in axes)
            total += size / kind.reach(math.prod(mesh.axis_sizes[first:]))
    return total
