"""The device's programs on a mesh: verdicts of one device, prefixes and vocabulary cut over the others."""

import types

import jax
import numpy as np
import pytest

from slick_jax.knowledge.batches import Batch, Judged, Lanes
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.pools import Pools
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.collectives import collectives_of

SPEC = ModelSpec(
    vocab_size=256, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_mlp=64, max_position_embeddings=64
)
N_TOKENS = 250  # the last rows of the vocabulary are padding
FIELDS = "draws", "ids", "values", "gold"
LANES, T, M = 8, 12, 16  # lanes and their tokens, judged positions


def device_on(data, fsdp, tensor):
    """A device over as many host devices as the sizes say, with the same weights on every mesh."""
    devices = jax.devices()[: data * fsdp * tensor]
    mesh = make_mesh(types.SimpleNamespace(data=data, fsdp=fsdp, tensor=tensor), devices)
    network = Network(SPEC)
    with jax.set_mesh(mesh):
        params = network.init(jax.random.key(0), mesh)
        program = Program(network, n_samples=5, sample_top_k=20, top_k=40, n_tokens=N_TOKENS, keeps=True)
        pools = Pools(network, mesh, 2 * LANES * T)
        return Device(program, params, mesh, seed=1, temperature=0.7, prefix_length=10, pools=pools)


def batch_for(shards):
    """The same lanes and judged positions, dealt to `shards`."""
    rng = np.random.default_rng(0)
    tokens, lane = rng.integers(1, N_TOKENS, (LANES, T)), np.arange(LANES)
    depth = np.tile(np.arange(T), (LANES, 1))
    end = np.full((LANES, T), T)
    depth[:, 8:] -= 4  # the last four tokens are siblings of the four before
    end[:, 4:8] = 8
    position = np.stack([lane, lane], 1).reshape(-1) * T + rng.integers(3, T, M)  # two of every lane
    where = position.reshape(shards, -1) - (np.arange(shards) * (LANES * T // shards))[:, None]
    shape = where.shape
    names = rng.integers(0, 2**31, (M, 3)).astype(np.uint32).reshape(*shape, 3)
    step, targets = rng.integers(0, 4, M).reshape(shape), rng.integers(0, N_TOKENS, M).reshape(shape)
    judged = Judged(*(array.astype(np.int32) for array in (where, step)), names, targets.astype(np.int32), [])
    prefix = rng.integers(0, 3, LANES)
    lanes = Lanes(*(array.astype(np.int32) for array in (prefix, tokens, depth, end)))
    return Batch(lanes, [judged], LANES * T, LANES * T)


def later_batch(first, shards):
    """Two tokens behind each of two tokens of every lane of `first`, in lanes of four; all of them are judged."""
    rng = np.random.default_rng(1)
    own = T * np.arange(LANES // shards)[:, None] + np.arange(3)
    slots = np.tile(own, (shards, 1)).astype(np.int32)  # the first three tokens of its own lane
    tokens = rng.integers(1, N_TOKENS, (LANES, 4)).astype(np.int32)
    depth, end, last = (np.tile(np.int32(row), (LANES, 1)) for row in ([3, 4, 2, 3], [2, 2, 4, 4], [3, 3, 2, 2]))
    lanes = Lanes(first.lanes.prefix, tokens, depth, end, slots, np.zeros_like(last), last)
    where = np.tile(np.arange(LANES * 4 // shards, dtype=np.int32), (shards, 1))
    names = np.zeros((*where.shape, 3), np.uint32)
    return Batch(lanes, [Judged(where, np.ones_like(where), names, np.zeros_like(where), [])], 4 * LANES, 4 * LANES)


def judged_by(device):
    prefixes = [np.arange(1, 1 + length, dtype=np.int32) for length in (10, 4, 7)]
    with jax.set_mesh(device.mesh):
        bank = device.bank(prefixes, 3)
        first, lease = batch_for(device.shards), device.pools.take()
        later = later_batch(first, device.shards)
        readouts = [*device.dispatch(bank, first, lease), *device.dispatch(bank, later, lease)]
        parts = [device.fetch(readout) for readout in readouts]
    found = {name: [getattr(part, name) for part in parts] for name in FIELDS}
    return bank, {name: np.concatenate([x.reshape(-1, *x.shape[2:]) for x in found[name]]) for name in FIELDS}


@pytest.fixture(scope="module")
def alone():
    return judged_by(device_on(1, 1, 1))[1]


@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 2, 4)])
def test_verdicts_do_not_depend_on_the_mesh(alone, sizes):
    bank, found = judged_by(device_on(*sizes))
    heads = SPEC.n_kv_heads // sizes[2] if SPEC.n_kv_heads % sizes[2] == 0 else SPEC.n_kv_heads
    assert {shard.data.shape[3] for shard in bank.k.addressable_shards} == {heads}
    assert len(found["gold"]) == M + 4 * LANES
    for name in FIELDS[:2]:
        assert np.array_equal(found[name], alone[name]), name
    for name in FIELDS[2:]:
        np.testing.assert_allclose(found[name], alone[name], atol=1e-5, err_msg=name)


def test_the_decision_gathers_no_logits():
    device = device_on(2, 1, 4)
    (judged,) = batch_for(2).judged
    with jax.set_mesh(device.mesh):
        states = np.zeros((2, M // 2, SPEC.d_model), np.float32)
        arguments = device._place(states, judged.step, judged.names, judged.targets)
        program = device._decide.lower(device.params, *arguments, device.key, device.temperature).compile()
    found = collectives_of(program.as_text(), device.mesh)
    assert found
    assert max(one.bytes for one in found) <= M // 2 * 4 * 40 * 4  # of the candidates: rows x pieces x k x int32
