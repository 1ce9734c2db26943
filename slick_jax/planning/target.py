"""Where a run is planned to run: kind and number of devices, the mesh over them, and what programs are compiled for."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh

from slick_jax.config import Config
from slick_jax.errors import InputError
from slick_jax.mesh import AXES, axis_sizes, make_mesh, team_sizes
from slick_jax.planning.devices import Kind, kind_of, read_topology

HOST = 8  # devices, where neither settings nor mesh say how many
MOST_HOST_DEVICES = 64  # that a compilation for the host stands in for: more take minutes


@dataclasses.dataclass(frozen=True)
class Target:
    """kind, mesh (sizes alone), topology ('' where there is none), bytes of a device that a run may take, and devices
    of a process (0: all)."""

    kind: Kind
    mesh: AbstractMesh
    topology: str
    usable: float
    per_process: int = 0

    @property
    def count(self) -> int:
        """Devices."""
        return self.mesh.size

    @property
    def processes(self) -> int:
        """Processes that have these devices."""
        return self.count // (self.per_process or self.count)

    @property
    def team(self) -> AbstractMesh:
        """The mesh of a team of `slick annotate`, as `mesh.make_team` cuts it."""
        sizes = _Sizes(*self.mesh.axis_sizes)
        return abstract_mesh(team_sizes(sizes, self.count, self.per_process or self.count))

    @property
    def teams(self) -> int:
        """Teams of `slick annotate`, each with parts of its own."""
        return self.count // self.team.size

    def compiled_for(self, devices: int) -> str:
        """In words, for labels of programs for so many of the devices."""
        if self.topology:
            return self.topology if devices == self.count else f"{devices} chips of {self.topology}"
        return f"{devices} host devices in place of {self.kind.name}"

    def with_mesh(self, sizes: tuple[int, ...]) -> Target:
        """The same devices in another mesh."""
        return dataclasses.replace(self, mesh=abstract_mesh(sizes))


def target_of(config: Config) -> Target:
    """The target of `config.plan` and `config.mesh`. Raises InputError for settings that contradict each other."""
    plan, sizes = config.plan, config.mesh
    fixed = math.prod(size for size in (sizes.data, sizes.fsdp, sizes.tensor) if size != -1)
    whole = -1 not in (sizes.data, sizes.fsdp, sizes.tensor)
    if plan.topology:
        kind, count = read_topology(plan.topology)
        if plan.device not in ("", kind.name) or plan.devices not in (0, count):
            raise InputError(
                f"config.plan.topology: {plan.topology!r} is {count} chips of {kind.name}, and plan.device="
                f"{plan.device!r}, plan.devices={plan.devices} say otherwise; leave these two empty"
            )
    else:
        kind = kind_of(plan.device or "h100")
        count = plan.devices or (fixed if whole else max(HOST, fixed))
    usable = kind.usable(plan.memory_share)
    local = plan.per_process or math.gcd(count, kind.host or count)
    if count % local:
        raise InputError(
            f"config.plan.per_process: {local} devices of a process do not divide the {count} of plan.devices; every"
            " process has as many"
        )
    return Target(kind, abstract_mesh(axis_sizes(sizes, count)), plan.topology, usable, local)


def abstract_mesh(sizes: tuple[int, ...]) -> AbstractMesh:
    """A mesh (data, fsdp, tensor) without devices."""
    return AbstractMesh(tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def real_mesh(target: Target) -> Mesh | str:
    """The mesh that programs are compiled for: chips of the topology, or as many devices of this host.

    A text says why there is none. Raises InputError for a topology without libtpu, or that libtpu refuses.
    """
    sizes = _Sizes(*target.mesh.axis_sizes)
    if target.topology:
        return make_mesh(sizes, tpu_devices(target.topology))
    if target.count > MOST_HOST_DEVICES:
        return f"{target.count} devices are too many to stand in for on this host"
    found = host_devices(target.count)
    return make_mesh(sizes, found) if found else "this process has fewer host devices already"


def team_mesh(target: Target, mesh: Mesh | str) -> Mesh | str:
    """The mesh of the first team among the devices of `mesh`; a text where there are none."""
    if isinstance(mesh, str) or target.teams == 1:
        return mesh
    devices = sorted(mesh.devices.flat, key=lambda device: (device.process_index, device.id))
    return make_mesh(_Sizes(*target.team.axis_sizes), devices[: target.team.size])


@dataclasses.dataclass(frozen=True)
class _Sizes:
    data: int
    fsdp: int
    tensor: int


def host_devices(count: int) -> list[jax.Device]:
    """`count` CPU devices; fewer, and so none, where JAX has begun with fewer."""
    try:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # it has begun
        pass
    found = jax.devices("cpu")
    return found[:count] if len(found) >= count else []


def tpu_devices(topology: str) -> list[jax.Device]:
    """The chips of a described slice, to compile for. Raises InputError where libtpu is not there or refuses it."""
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            f"config.plan.topology={topology}: compiling for TPUs needs libtpu: pip install slick_jax[tpu]; or leave"
            " plan.topology empty and give plan.device and plan.devices: figures then come from shapes alone"
        )
    # No TPU is there to be asked; the kind of host only has to be some kind, and libtpu's lock guards no TPU.
    os.environ.update(TPU_SKIP_MDS_QUERY="1", TPU_WORKER_HOSTNAMES="localhost", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    host_devices(1)
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        why = str(error).splitlines()[0]
        raise InputError(
            f"config.plan.topology: libtpu knows no {topology!r} ({why}); slices are listed at"
            " cloud.google.com/tpu/docs, such as v5e:4x4, v5p:4x4x8 and v6e:8x8"
        ) from error
