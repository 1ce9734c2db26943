"""Kinds of devices against their makers' pages, slices of TPUs, and what links carry."""

import collections

import pytest

from slick_jax.errors import InputError
from slick_jax.planning.devices import GPU_SHARE, KINDS, MEM_FRACTION, read_topology
from slick_jax.planning.programs import link_seconds, wire_bytes
from slick_jax.planning.target import abstract_mesh


def test_float32_runs_at_a_part_of_the_bfloat16_rate():
    v5p, h100 = KINDS["v5p"], KINDS["h100"]
    assert v5p.rate("bfloat16", "highest") == v5p.rate("float32", "default") == 459e12
    assert v5p.rate("float32", "highest") == 459e12 / 6  # six passes of bfloat16
    assert h100.rate("float32", "highest") == 66.9e12  # no tensor cores


def test_a_run_has_what_launch_gives_it_unless_told_otherwise(root):
    assert KINDS["h100"].usable(0) == 72e9 and KINDS["v5e"].usable(0) == 16e9
    assert KINDS["h100"].usable(0.75) == 60e9
    for script in ("local.sh", "slurm.sbatch"):
        assert f"{MEM_FRACTION}:-{GPU_SHARE}" in (root / "launch" / script).read_text()


def test_links_of_a_torus_and_of_hosts():
    assert KINDS["v5e"].reach(256) == 100e9  # 400 GB/s over four links, both directions: two links one way
    assert KINDS["h100"].reach(8) == 450e9 and KINDS["h100"].reach(16) == 50e9


@pytest.mark.parametrize(("text", "count"), [("v5e:2x4", 8), ("v5p:8x8x4", 256), ("v6e:16x16", 256)])
def test_slices(text, count):
    kind, chips = read_topology(text)
    assert (kind.name, chips) == (text[:3], count)


@pytest.mark.parametrize("text", ["v5p-256", "v5p:16x16", "v5e:2x2x2", "h100:8", "v5e:0x4", "v5e:", "v4:2x2x2"])
def test_what_is_no_slice(text):
    with pytest.raises(InputError, match=r"plan.topology: .* no slice of TPUs; give one such as v5e:2x4, v5p:2x4x8"):
        read_topology(text)


@pytest.mark.parametrize(
    ("kind", "size"),
    [("all-gather", 70), ("reduce-scatter", 560), ("all-reduce", 140), ("all-to-all", 70), ("collective-permute", 80)],
)
def test_what_a_ring_of_eight_receives_for_80_bytes(kind, size):
    assert wire_bytes(kind, 80, 8) == size


def test_axes_of_a_mesh_that_leaves_the_host_are_slow():
    """data 2 x fsdp 4 x tensor 2 on GPUs: a group along tensor or fsdp spans 8 devices, along data all 16."""
    mesh, h100 = abstract_mesh((2, 4, 2)), KINDS["h100"]
    received = collections.Counter({("tensor",): 450e9, ("fsdp",): 450e9, ("data",): 50e9, ("data", "fsdp"): 100e9})
    assert link_seconds(received, h100, mesh) == 1 + 1 + 1 + 2
