"""Collectives of compiled programs, on eight devices of the host: kinds, sizes, mesh axes, and turns of loops."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from slick_jax.mesh import make_mesh
from slick_jax.planning.collectives import Collective, collectives_of


def mesh_of(data, fsdp, tensor):
    return make_mesh(types.SimpleNamespace(data=data, fsdp=fsdp, tensor=tensor), jax.devices()[:8])


def compiled_text(function, mesh, *arguments):
    """HLO of `function` of float32 arguments, each a (shape, partition spec)."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec)) for shape, spec in arguments]
    with jax.set_mesh(mesh):
        return jax.jit(function).lower(*shapes).compile().as_text()


def layers(x, w, v):
    """Five layers as the decoder has them: weights cut over fsdp are gathered, sums over tensor reduced."""

    def step(x, weights):
        x = jax.nn.relu(x @ weights[0]) @ weights[1]
        return jax.lax.with_sharding_constraint(x, P(("data", "fsdp"), None)), None

    return jax.lax.scan(step, x, (w, v))[0]


def test_collectives_of_layers_are_counted_per_turn():
    mesh = mesh_of(2, 2, 2)
    text = compiled_text(
        layers, mesh, ((16, 32), P(("data", "fsdp"), None)), ((5, 32, 64), P(None, "fsdp", "tensor")),
        ((5, 64, 32), P(None, "tensor", "fsdp")),
    )  # fmt: skip
    found = collectives_of(text, mesh)
    assert sorted((one.kind, one.shape, one.bytes, one.times, one.axes) for one in found) == [
        ("all-gather", "f32[32,32]", 4096, 5, ("fsdp",)),
        ("all-gather", "f32[32,32]", 4096, 5, ("fsdp",)),
        ("all-reduce", "f32[4,32]", 512, 5, ("tensor",)),
    ]
    assert all(one.operation.endswith("dot_general") for one in found)


@pytest.mark.parametrize("axis", ["data", "fsdp", "tensor"])
def test_axes_of_every_kind(axis):
    mesh = mesh_of(2, 2, 2)

    def exchange(x):
        def local(x):
            x = jax.lax.ppermute(x, axis, [(0, 1), (1, 0)])
            x = jax.lax.all_to_all(x, axis, 1, 0)
            return jax.lax.psum_scatter(x, axis, tiled=True)

        return jax.shard_map(local, in_specs=P(("data", "fsdp", "tensor")), out_specs=P(axis), check_vma=False)(x)

    found = collectives_of(compiled_text(exchange, mesh, ((32, 2), P(("data", "fsdp", "tensor")))), mesh)
    assert {one.kind for one in found} >= {"collective-permute", "all-to-all", "reduce-scatter"}
    assert {one.axes for one in found if one.kind != "all-gather"} == {(axis,)}


# As the TPU compiler writes it: started and awaited apart, tiled layouts, tuples, fused computations.
ASYNC = """HloModule jit_f, num_partitions=8

%wrapped (p: bf16[8,16]) -> bf16[8,64] {
  %p = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.2 = bf16[8,64]{1,0:T(8,128)(2,1)} all-gather(%p), channel_id=7, replica_groups=[2,4]<=[8]
}

%spread (p.1: bf16[8,16]) -> bf16[8,64] {
  %p.1 = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.3 = bf16[8,64]{1,0:T(8,128)(2,1)} all-gather(%p.1), channel_id=7, replica_groups=[2,4]<=[8]
}

%body (arg: (s32[], bf16[8,16])) -> (s32[], bf16[8,16]) {
  %arg = (s32[]{:T(128)}, bf16[8,16]{1,0:T(8,128)(2,1)}) parameter(0)
  %x = bf16[8,16]{1,0:T(8,128)(2,1)} get-tuple-element(%arg), index=1
  %started = (bf16[8,16]{1,0}, bf16[8,32]{1,0}) all-gather-start(%x), replica_groups={{0,1},{2,3},{4,5},{6,7}}, \
dimensions={1}, metadata={op_name="jit(f)/while/body/gather"}
  %gathered = bf16[8,32]{1,0} all-gather-done(%started)
  %fused = bf16[8,64]{1,0} fusion(%x), kind=kCustom, calls=%wrapped
  %awaited = bf16[8,64]{1,0:T(8,128)(2,1)} fusion(%fused), kind=kCustom, calls=%spread
  ROOT %out = (s32[]{:T(128)}, bf16[8,16]{1,0}) tuple(%arg, %x)
}

%condition (arg.1: (s32[], bf16[8,16])) -> pred[] {
  %arg.1 = (s32[]{:T(128)}, bf16[8,16]{1,0}) parameter(0)
  %counter = s32[]{:T(128)} get-tuple-element(%arg.1), index=0
  %turns = s32[]{:T(128)} constant(32)
  ROOT %less = pred[]{:T(512)} compare(%counter, %turns), direction=LT
}

ENTRY %main (a: bf16[8,16]) -> bf16[8,16] {
  %a = bf16[8,16]{1,0} parameter(0)
  %t = (s32[]{:T(128)}, bf16[8,16]{1,0}) tuple(%a, %a)
  %loop = (s32[]{:T(128)}, bf16[8,16]{1,0}) while(%t), condition=%condition, body=%body
  %twice = (f32[], f32[2]{0}) all-reduce(%a, %a), replica_groups={}, to_apply=%sum
  ROOT %done = bf16[8,16]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_programs_as_the_tpu_compiler_writes_them():
    mesh = mesh_of(2, 2, 2)
    text = ASYNC.replace(", to_apply=%sum", "")
    assert sorted(collectives_of(text, mesh), key=lambda one: (one.kind, one.bytes)) == [
        Collective("all-gather", "bf16[8,32]", 512, 32, ("tensor",), "jit(f)/while/body/gather", True),
        Collective("all-gather", "bf16[8,64]", 1024, 32, ("fsdp", "tensor"), "", True),
        Collective("all-reduce", "(f32[], f32[2])", 12, 1, ("data", "fsdp", "tensor"), "", False),
    ]
    for groups, axes in {
        "mesh['a'=2,'b'=4] {'b'}": ("fsdp", "tensor"),
        "mesh['a'=2,'b'=4] {'a'}": ("data",),
        "mesh['a'=8] {'a':(2)2}": ("fsdp",),
        "mesh['a'=4,'b'=2] {'a':(1)2,'b'}": ("data", "tensor"),
        "mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}": ("tensor",),
        "[4,2]<=[2,2,2]T(0,2,1)": ("fsdp",),
        "{{0,4},{1,5},{2,6},{3,7}}": ("data",),
    }.items():
        found = collectives_of(text.replace("replica_groups={}", f"replica_groups={groups}"), mesh)
        assert [one.axes for one in found if one.kind == "all-reduce"] == [axes]
    with pytest.raises(ValueError, match="turns"):
        collectives_of(text.replace("direction=LT", "direction=NE"), mesh)
    with pytest.raises(ValueError, match="notation"):
        collectives_of(text.replace("replica_groups={}", "replica_groups=@all"), mesh)


WINDOWED = """HloModule windowed
%body (w: (bf16[8,16], u32[])) -> (bf16[8,16], u32[]) {
  %w = (bf16[8,16]{1,0}, u32[]{:T(128)}) parameter(0)
  %piece = bf16[8,16]{1,0} get-tuple-element(%w), index=0
  %one = u32[]{:T(128)} constant(1)
  %sent = bf16[8,16]{1,0} collective-permute(%piece), source_target_pairs={{0,1},{1,0},{2,3},{3,2}}
  %count = u32[]{:T(128)} get-tuple-element(%w), index=1
  %next = u32[]{:T(128)} add(%count, %one)
  %after = u32[]{:T(128)} add(%one, %next)
  ROOT %out = (bf16[8,16]{1,0}, u32[]{:T(128)}) tuple(%sent, /*index=1*/%after)
}
%condition (c: (bf16[8,16], u32[])) -> pred[] {
  %c = (bf16[8,16]{1,0}, u32[]{:T(128)}) parameter(0)
  %counted = u32[]{:T(128)} get-tuple-element(%c), index=1
  %bound = u32[]{:T(128)} constant(8)
  ROOT %less = pred[]{:T(512)} compare(%counted, %bound), direction=LT
}
ENTRY %main (a: bf16[8,16]) -> bf16[8,16] {
  %a = bf16[8,16]{1,0} parameter(0)
  %zero = u32[]{:T(128)} constant(0)
  %t = (bf16[8,16]{1,0}, u32[]{:T(128)}) tuple(%a, %zero)
  %loop = (bf16[8,16]{1,0}, u32[]{:T(128)}) while(%t), condition=%condition, body=%body
  ROOT %done = bf16[8,16]{1,0} get-tuple-element(%loop), index=0
}
"""


def test_loops_of_the_partitioner_count_several_steps_a_turn():
    """Pieces of a product that go round a ring: 8 steps, two a turn; what does not end in a counter is not guessed."""
    (found,) = collectives_of(WINDOWED, mesh_of(2, 2, 2))
    assert (found.kind, found.bytes, found.times) == ("collective-permute", 256, 4)
    (single,) = collectives_of(WINDOWED.replace("%after)", "%next)"), mesh_of(2, 2, 2))
    assert single.times == 8
    with pytest.raises(ValueError, match="turns"):
        collectives_of(WINDOWED.replace("add(%one, %next)", "multiply(%one, %next)"), mesh_of(2, 2, 2))
