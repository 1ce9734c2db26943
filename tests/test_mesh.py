"""Meshes that fit the devices, rules that place arrays, and their errors."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from slick_jax import mesh as meshes
from slick_jax.errors import InputError, Stopped
from slick_jax.mesh import batch_sharding, constrain, make_mesh, make_team, partition_spec, place, sharding_for


def sizes(data=1, fsdp=1, tensor=1):
    return types.SimpleNamespace(data=data, fsdp=fsdp, tensor=tensor)


def mesh_of(**given):
    return make_mesh(sizes(**given), jax.devices()[:8])


@pytest.mark.parametrize(
    "given, shape",
    [
        (dict(data=-1), (8, 1, 1)),
        (dict(data=-1, fsdp=2, tensor=2), (2, 2, 2)),
        (dict(fsdp=-1, tensor=4), (1, 2, 4)),
        (dict(data=8), (8, 1, 1)),
    ],
)
def test_shape(given, shape):
    mesh = mesh_of(**given)
    assert mesh.axis_names == ("data", "fsdp", "tensor") and mesh.devices.shape == shape
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize("given", [dict(data=3), dict(data=-1, tensor=3), dict(data=2), dict(data=16)])
def test_sizes_that_do_not_fit_name_themselves_and_the_device_count(given):
    with pytest.raises(InputError) as error:
        mesh_of(**given)
    assert "8 devices" in str(error.value)
    assert all(f"mesh.{name}={value}" in str(error.value) for name, value in given.items())


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend 'cuda'")])
def test_a_platform_that_is_not_there_is_named(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(jax, "devices", fail)
    for make in (make_mesh, make_team):
        with pytest.raises(InputError, match=rf"JAX_PLATFORMS='cpu'.*{error}.*slick_jax\[cuda12\]"):
            make(sizes(data=-1))


@pytest.mark.parametrize("given", [dict(data=0), dict(fsdp=-2), dict(data=-1, fsdp=-1)])
def test_impossible_sizes(given):
    with pytest.raises(InputError, match="at most one"):
        mesh_of(**given)


def test_rules():
    mesh = mesh_of(data=2, fsdp=2, tensor=2)
    assert partition_spec(mesh, ("layers", "embed", "heads"), (3, 4, 6)) == P(None, "fsdp", "tensor")
    assert partition_spec(mesh, ("vocab", "embed"), (50, 4)) == P("tensor", "fsdp")
    assert partition_spec(mesh, ("batch", None), (8, 5)) == P(("data", "fsdp"), None)
    # What does not divide stays whole on every device.
    assert partition_spec(mesh, ("embed", "kv_heads", "head_dim"), (4, 3, 8)) == P("fsdp", None, None)
    assert partition_spec(mesh, ("batch", None), (6, 5)) == P(None, None)


def test_colliding_and_unknown_axes_raise():
    mesh = mesh_of(fsdp=8)
    with pytest.raises(ValueError, match="fsdp"):
        partition_spec(mesh, ("batch", "embed"), (8, 8))
    with pytest.raises(KeyError):
        partition_spec(mesh, ("nonsense",), (8,))


def test_arrays_are_really_cut():
    mesh = mesh_of(fsdp=4, tensor=2)
    array = jax.device_put(np.zeros((16, 8)), sharding_for(mesh, ("vocab", "embed"), (16, 8)))
    assert {shard.data.shape for shard in array.addressable_shards} == {(8, 2)}
    rows = jax.device_put(np.zeros((8, 3)), batch_sharding(mesh, 2))
    assert {shard.data.shape for shard in rows.addressable_shards} == {(2, 3)}
    copies = jax.device_put(np.zeros((8, 3)), meshes.replicated(mesh))
    assert {shard.data.shape for shard in copies.addressable_shards} == {(8, 3)}


def test_constrain_follows_the_mesh_in_force():
    array = jnp.zeros((8, 3))
    assert constrain(array, ("batch", None)) is array
    with jax.set_mesh(mesh_of(data=8)):
        out = jax.jit(lambda x: constrain(x + 1, ("batch", None)))(array)
    assert {shard.data.shape for shard in out.addressable_shards} == {(1, 3)}


@pytest.mark.parametrize(
    "processes, local, given, index, team",
    [
        (1, 8, dict(data=-1, tensor=2), 0, ((4, 1, 2), 0, 1, [0])),
        (4, 8, dict(data=-1, tensor=2), 3, ((4, 1, 2), 3, 4, [3])),  # groups of 2 in hosts of 8
        (2, 4, dict(data=1, fsdp=8), 1, ((1, 8, 1), 0, 1, [0, 1])),  # one group over both hosts
        (8, 4, dict(data=-1, fsdp=8, tensor=2), 5, ((1, 8, 2), 1, 2, [4, 5, 6, 7])),
        (6, 4, dict(data=4, fsdp=6), 4, ((2, 6, 1), 1, 2, [3, 4, 5])),  # 2 groups of 6 in 3 hosts of 4
    ],
)
def test_teams_are_the_fewest_processes_that_hold_whole_groups(monkeypatch, processes, local, given, index, team):
    devices = [types.SimpleNamespace(process_index=p, id=p * local + i) for p in range(processes) for i in range(local)]
    monkeypatch.setattr(meshes.jax, "devices", lambda: devices)
    monkeypatch.setattr(meshes.jax, "process_index", lambda: index)
    monkeypatch.setattr(meshes, "_mesh", lambda shape, devices: (shape, {device.process_index for device in devices}))
    found = make_team(sizes(**given))
    assert (found.mesh[0], found.number, found.count, list(found.members)) == team
    assert found.mesh[1] == set(team[3]) and found.writes == (index == team[3][0])
    assert found.first_of(found.number) == team[3][0]


def test_processes_with_different_numbers_of_devices_are_refused(monkeypatch):
    devices = [types.SimpleNamespace(process_index=p) for p in (0, 0, 1)]
    monkeypatch.setattr(meshes.jax, "devices", lambda: devices)
    with pytest.raises(InputError, match="process 0 has 2, process 1 has 1"):
        make_team(sizes(data=-1))


def test_place_cuts_host_arrays():
    rows = place(np.arange(24).reshape(8, 3), batch_sharding(mesh_of(data=4, fsdp=2), 2))
    assert {shard.data.shape for shard in rows.addressable_shards} == {(1, 3)}
    np.testing.assert_array_equal(rows, np.arange(24).reshape(8, 3))


class Chip:
    """A chip of a TPU pod as JAX describes it; there is none here."""

    platform, device_kind, core_on_chip, process_index, slice_index = "tpu", "TPU v5", 0, 0, 0

    def __init__(self, number, coords):
        self.id, self.coords = number, coords


def test_a_group_may_be_part_of_an_axis_of_the_pod():
    chips = [Chip(x + 8 * (y + 8 * z), (x, y, z)) for z in range(4) for y in range(8) for x in range(8)]
    mesh = make_mesh(sizes(data=-1, tensor=2), chips)
    assert mesh.devices.shape == (128, 1, 2)
    for first, second in mesh.devices[:, 0]:
        assert sum(abs(a - b) for a, b in zip(first.coords, second.coords, strict=True)) == 1, "neighbours"


def test_a_process_that_is_lost_before_its_devices_are_known_is_no_want_of_devices(monkeypatch):
    why = "INTERNAL: Getting local topologies failed: GetKeyValue() timed out with key: cpu:local_topology/cpu/1"

    def fail():
        raise RuntimeError(f"Unable to initialize backend 'cpu': {why}")

    monkeypatch.setattr(meshes.jax, "devices", fail)
    with pytest.raises(InputError, match="JAX finds no device .*local_topology"):
        make_mesh(sizes())
    monkeypatch.setattr(meshes.jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(Stopped, match="another process of this run ended before its devices were known"):
        make_mesh(sizes())
