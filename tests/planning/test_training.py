"""The training stage against a real step on eight host devices, and by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from slick_jax.config import LoraConfig, MeshConfig, TrainConfig
from slick_jax.mesh import make_mesh
from slick_jax.models.lora import LoraSpec, resolve
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.target import abstract_mesh
from slick_jax.planning.training import compile_step, traffic, training
from slick_jax.training.step import Rows, init_state, loss_and_gradients

SPEC = ModelSpec(vocab_size=512, d_model=64, n_layers=3, n_heads=4, n_kv_heads=2, head_dim=16, d_mlp=160)


def planned(sizes, spec=SPEC, lora=None, remat="none", dtype="float32", **settings):
    network = Network(spec, dtype, remat=remat, lora=lora)
    return training(network, TrainConfig(remat=remat, **settings), abstract_mesh(sizes), 24, 8)


def bytes_on(device, tree):
    shards = (shard for leaf in jax.tree.leaves(tree) for shard in leaf.addressable_shards)
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


@pytest.mark.parametrize(("sizes", "optimizer"), [((1, 8, 1), "adamw"), ((2, 2, 2), "adafactor")])
def test_what_lies_on_a_device_is_what_a_real_step_has_there(sizes, optimizer):
    mesh, settings = make_mesh(MeshConfig(*sizes), jax.devices()), TrainConfig(optimizer=optimizer, batch_size=16)
    plan = planned(sizes, optimizer=optimizer, batch_size=16)
    with jax.set_mesh(mesh):
        real = training(Network(SPEC), settings, mesh, 24, 8)
        state = init_state(real.network, real.optimizer, jax.random.key(0), mesh)
        rows = jax.tree.map(lambda leaf: jax.device_put(jnp.ones(leaf.shape, leaf.dtype), leaf.sharding), real.rows)

        @jax.jit
        def gradients(params, rows):
            found = loss_and_gradients(real.network, params, Rows(*rows), dropout=0.0, rng=None, accumulate=1)[1]
            return real.network.constrained(found)

        found = gradients(state.params, rows)
    assert len(jax.devices()) == 8
    for device in jax.devices():
        assert plan.memory["parameters"] == bytes_on(device, state.params)
        assert plan.memory["optimizer state"] == bytes_on(device, state.opt_state)
        assert plan.memory["gradients"] == bytes_on(device, found)


@pytest.mark.parametrize(
    ("sizes", "remat", "accumulate"), [((1, 4, 2), "none", 1), ((8, 1, 1), "full", 1)]
)
def test_all_at_once_is_near_what_the_compiler_plans(sizes, remat, accumulate):
    """In float32, where the host's compiler holds what a device would, between 0.75 and 1.15 of it (docs/plan.md)."""
    plan = planned(sizes, remat=remat, accumulate=accumulate, batch_size=64)
    real = dataclasses.replace(plan, mesh=make_mesh(MeshConfig(*sizes), jax.devices()))
    real = training(real.network, real.settings, real.mesh, 24, 8)
    compiled = compile_step(real)
    assert 0.75 < sum(plan.memory.values()) / (real.held + compiled.own) < 1.15
    # The host's compiler sums gradients on all devices, where shapes say that each gets its piece.
    assert 0.5 < sum(traffic(plan).values()) / sum(compiled.received().values()) < 1.1


def test_adapters_leave_the_base_without_gradients_and_moments():
    lora = resolve(SPEC, LoraSpec(4, 8.0, ()), "test")
    settings = TrainConfig(batch_size=4, lora=LoraConfig(rank=4, base_dtype="bfloat16"))
    plan = training(Network(SPEC, lora=lora), settings, abstract_mesh((1, 1, 1)), 24, 8)
    base = sum(leaf.size for leaf in jax.tree.leaves(Network(SPEC).abstract()))
    own = sum(leaf.size for leaf in jax.tree.leaves(plan.network.abstract()))
    assert plan.memory["frozen parameters"] == 2 * base
    assert plan.memory["parameters"] == plan.memory["gradients"] == 4 * own
    assert plan.memory["optimizer state"] == pytest.approx(8 * own, abs=16)


def test_arithmetic_by_hand():
    """6 FLOPs a weight and token; `remat` reads the layers once more; frozen weights get no gradient."""
    d, n, k, h, f = 64, 4, 2, 16, 160
    layer = 2 * d * n * h + 2 * d * k * h + 3 * d * f
    tokens, row, targets = 1000, 20, 80
    linear, attention, head = 2 * 3 * layer * tokens, 4 * 3 * n * h * tokens * (row + 1) / 2, 2 * d * 512 * targets
    assert planned((1, 1, 1)).flops(tokens, row, targets) == 3 * (linear + attention + head)
    assert planned((1, 1, 1), remat="full").flops(tokens, row, targets) == 4 * (linear + attention) + 3 * head
    assert planned((1, 1, 1), remat="dots").flops(tokens, row, targets) == 3 * (linear + head) + 4 * attention
