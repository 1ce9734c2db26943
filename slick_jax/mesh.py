"""The device mesh (data, fsdp, tensor) and the rules that place logical axes on it."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from slick_jax.errors import InputError, Stopped

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")

# Logical axis -> mesh axes. Weights are cut once over fsdp (along the model width) and once over tensor.
RULES: dict[str, tuple[str, ...]] = {
    "batch": BATCH_AXES,
    "embed": ("fsdp",),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
    "layers": (),
    "experts": (),
    "positions": (),
    "norm": (),
    "head_dim": (),
    "rank": (),
}


class MeshSizes(Protocol):
    """Devices along each axis; one of them may be -1, all devices that remain."""

    data: int
    fsdp: int
    tensor: int


def make_mesh(sizes: MeshSizes, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over `devices` (default: those of all processes) with axes (data, fsdp, tensor).

    Axis types are Auto: the compiler places intermediate values. Raises InputError when the sizes do not multiply to
    the number of devices, and where JAX finds none.
    """
    devices = all_devices() if devices is None else devices
    if jax.process_count() > 1 and not jax.distributed.is_initialized():
        raise InputError(
            "these devices are those of several hosts, and this command runs on one; use a slice of one host, or a"
            " command that takes several processes (docs/scaling.md)"
        )
    return _mesh(axis_sizes(sizes, len(devices)), devices)


@dataclasses.dataclass(frozen=True)
class Team:
    """Processes that compute the same rows in lock-step on one mesh, because a model group spans them; else just one.

    number: of this process's team among the `count` teams of the run; members: process indices, the first one writes.
    """

    mesh: Mesh
    number: int
    count: int
    members: range

    @property
    def writes(self) -> bool:
        """Whether this process writes what its team finds."""
        return jax.process_index() == self.members[0]

    def first_of(self, number: int) -> int:
        """The process that writes for team `number`."""
        return number * len(self.members)


def make_team(sizes: MeshSizes) -> Team:
    """This process's team and the mesh over its devices, cut out of the (data, fsdp, tensor) of all processes.

    A team is the fewest processes whose devices make up whole model groups of fsdp * tensor devices: one, where groups
    fit into a process. Raises InputError when the sizes do not multiply to the number of devices of all processes, or
    the processes have different numbers of them, and where JAX finds none.
    """
    devices = all_devices()
    per_process = Counter(device.process_index for device in devices)
    if len(set(per_process.values())) > 1:
        numbers = ", ".join(f"process {index} has {n}" for index, n in sorted(per_process.items()))
        raise InputError(f"every process needs the same number of devices; {numbers}")
    local = len(devices) // len(per_process)
    shape = team_sizes(sizes, len(devices), local)
    size = math.prod(shape) // local
    number = jax.process_index() // size
    members = range(number * size, (number + 1) * size)
    ours = [device for device in devices if device.process_index in members]
    return Team(_mesh(shape, ours), number, len(per_process) // size, members)


def team_sizes(sizes: MeshSizes, count: int, local: int) -> tuple[int, int, int]:
    """The sizes of the axes of a team's mesh, where every process has `local` of `count` devices.

    Its devices divide them all, as groups and processes do. Raises InputError as `axis_sizes` does.
    """
    _, fsdp, tensor = axis_sizes(sizes, count)
    return math.lcm(fsdp * tensor, local) // (fsdp * tensor), fsdp, tensor


def all_devices() -> Sequence[jax.Device]:
    """Those of all processes. Raises InputError where JAX finds none."""
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # without a message where the platform has no plugin or no device
        if "topolog" in str(error) and jax.distributed.is_initialized():  # told by each process to all others
            raise Stopped(
                "another process of this run ended before its devices were known (see its output); start all of them"
                " again, which goes on from what is finished"
            ) from error
        asked, why = jax.config.jax_platforms or "", f"; {error}" if str(error) else ""
        raise InputError(
            f"JAX finds no device (JAX_PLATFORMS={asked!r}{why});"
            " unset JAX_PLATFORMS to take what there is, or install what it needs: slick_jax[cuda12], [cuda13] or [tpu]"
        ) from error


def axis_sizes(sizes: MeshSizes, count: int) -> tuple[int, ...]:
    """The sizes of the axes on `count` devices, -1 resolved. Raises InputError where they do not multiply to it."""
    asked = {name: getattr(sizes, name) for name in AXES}
    text = ", ".join(f"mesh.{name}={value}" for name, value in asked.items())
    if any(value < 1 and value != -1 for value in asked.values()) or list(asked.values()).count(-1) > 1:
        raise InputError(f"{text}: sizes must be 1 or more, and at most one of them -1 (all remaining devices)")
    known = math.prod(value for value in asked.values() if value != -1)
    shape = tuple(count // known if value == -1 else value for value in asked.values())
    if math.prod(shape) != count:
        hint = f"choose sizes whose product is {count}, or set one to -1 and the others to divide it"
        raise InputError(f"{text} does not fit {count} devices; {hint}")
    return shape


def _mesh(shape: tuple[int, ...], devices: Sequence[jax.Device]) -> Mesh:
    # A group of 2 chips is part of an axis of their torus: jax.make_mesh refuses that on most kinds of TPU.
    laid_out = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return Mesh(laid_out, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def partition_spec(
    mesh: Mesh | AbstractMesh, logical_axes: Sequence[str | None], shape: Sequence[int]
) -> PartitionSpec:
    """Where an array of `shape` with these logical axes lies on `mesh`.

    An axis whose size the mesh axes do not divide is left replicated (3 kv heads on 2 tensor devices, say). Raises
    ValueError where two axes of one array claim the same mesh axis, and KeyError for an axis without a rule.
    """
    entries: list[tuple[str, ...] | str | None] = []
    used: set[str] = set()
    for axis, size in zip(logical_axes, shape, strict=True):
        names = () if axis is None else RULES[axis]
        if used & set(names):
            raise ValueError(f"logical axes {tuple(logical_axes)} claim mesh axis {sorted(used & set(names))} twice")
        used |= set(names)
        fits = names and size % math.prod(mesh.shape[name] for name in names) == 0
        entries.append((names[0] if len(names) == 1 else names) if fits else None)
    return PartitionSpec(*entries)


def sharding_for(mesh: Mesh, logical_axes: Sequence[str | None], shape: Sequence[int]) -> NamedSharding:
    """`partition_spec` bound to the mesh, for device_put, jit and array creation."""
    return NamedSharding(mesh, partition_spec(mesh, logical_axes, shape))


def batch_sharding(mesh: Mesh, ndim: int) -> NamedSharding:
    """Axis 0 over (data, fsdp), the others replicated: for token arrays and everything else with a row per example."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES, *[None] * (ndim - 1)))


def batch_shards(mesh: Mesh) -> int:
    """Slices of the mesh that `batch_sharding` cuts axis 0 into."""
    return math.prod(mesh.shape[name] for name in BATCH_AXES)


def replicated(mesh: Mesh) -> NamedSharding:
    """A full copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def place(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """A host array on the devices of `sharding`. Where they belong to several processes, each of those must hand in the
    same array, and keeps its own pieces of it."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def readable(mesh: Mesh | AbstractMesh) -> NamedSharding | None:
    """`out_shardings` of a result that the host reads with `jax.device_get`: whole in every process of a mesh that
    spans several, else where the compiler leaves it."""
    return replicated(mesh) if isinstance(mesh, Mesh) and mesh.is_multi_process else None


def constrain(array: jax.Array, logical_axes: Sequence[str | None]) -> jax.Array:
    """Pin an intermediate value to the mesh of `jax.set_mesh`; without one the array is returned as it is."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return array
    return jax.lax.with_sharding_constraint(array, partition_spec(mesh, logical_axes, array.shape))
