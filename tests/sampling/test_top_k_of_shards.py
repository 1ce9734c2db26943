"""The top k of a vocabulary cut over devices equals the top k of a whole one, and gathers no row of it."""

import math
import types

import jax
import numpy as np
import pytest

from slick_jax.mesh import make_mesh, sharding_for
from slick_jax.planning.collectives import collectives_of
from slick_jax.sampling import logits as select


def mesh_of(data, fsdp, tensor):
    return make_mesh(types.SimpleNamespace(data=data, fsdp=fsdp, tensor=tensor), jax.devices()[:8])


def ties(shape):
    """Logits with many equals, within pieces and across them."""
    return np.round(np.random.default_rng(0).normal(size=shape) * 4).astype(np.float32) / 4 + 0.0  # no negative zeros


def test_without_a_mesh_it_is_the_top_k():
    logits = ties((2, 5, 96))
    values, ids = select.top_k_of_shards(logits, 7)
    wanted = select.top_k(logits.reshape(10, 96), 7)
    assert np.array_equal(values.reshape(10, 7), wanted[0]) and np.array_equal(ids.reshape(10, 7), wanted[1])


@pytest.mark.parametrize(
    ("sizes", "vocabulary", "k"),
    [
        ((1, 1, 8), 1024, 40),
        ((1, 2, 4), 1000, 40),
        ((2, 2, 2), 1000, 40),
        ((1, 1, 8), 64, 40),  # more than a piece has
        ((2, 1, 4), 1002, 40),  # no piece of equal size: the vocabulary stays whole
        ((4, 2, 1), 1000, 40),
    ],
)
def test_equals_the_top_k_of_whole_rows(sizes, vocabulary, k):
    mesh = mesh_of(*sizes)
    logits = ties((sizes[0] * sizes[1], 24, vocabulary))
    with jax.set_mesh(mesh):
        placed = jax.device_put(logits, sharding_for(mesh, ("batch", None, "vocab"), logits.shape))
        program = jax.jit(select.top_k_of_shards, static_argnums=1).lower(placed, k).compile()
        values, ids = program(placed)
    wanted = np.argsort(-logits, axis=-1, kind="stable")[..., :k]
    assert np.array_equal(ids, wanted)
    assert np.array_equal(values, np.take_along_axis(logits, wanted, axis=-1))
    found = collectives_of(program.as_text(), mesh)
    cut = sizes[2] > 1 and vocabulary % sizes[2] == 0
    assert {one.axes for one in found} == ({("tensor",)} if cut else set())
    assert sum(one.bytes for one in found) <= 24 * 8 * k * math.prod(sizes[2:]) * cut
