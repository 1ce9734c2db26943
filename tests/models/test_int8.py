"""Kernels in 8 bits: against rounding in numpy, for every family, on meshes, and what they take of memory."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.mesh import batch_sharding, make_mesh
from slick_jax.models import loading
from slick_jax.models.int8 import Int8Kernel, is_quantised, quantise
from slick_jax.models.spec import ModelSpec, spec_from_hf
from slick_jax.models.transformer import Network
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table
from slick_jax.models.weights import load_hf, save_hf
from tests.families import VARIANTS, config_of

SPEC = ModelSpec(64, 32, 2, 8, 4, 6, 48)


def random_params(network, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape), x.dtype), network.abstract())


def rounded(weight, array):
    """(values, scale) of a stacked kernel, one output of one layer at a time, in numpy."""
    lead, outputs = weight.lead, weight.shape[weight.inputs :]
    flat = np.asarray(array, np.float32).reshape(*lead, -1, *outputs)
    values, scale = np.zeros(flat.shape, np.int8), np.zeros((*lead, *outputs), np.float32)
    for at in np.ndindex(lead):
        for output in np.ndindex(outputs):
            column = flat[(*at, slice(None), *output)]
            step = np.abs(column).max() / np.float32(127)
            scale[(*at, *output)] = step
            values[(*at, slice(None), *output)] = np.rint(column / step)
    return values.reshape(array.shape), scale


def as_floats(network, params):
    """Parameters whose kernels are the floats that the rounded ones stand for."""

    def of(weight, array):
        if not is_quantised(weight):
            return array
        values, scale = rounded(weight, array)
        inner = scale.reshape(*weight.lead, *[1] * weight.inputs, *weight.shape[weight.inputs :])
        return jnp.asarray(values * inner)

    return jax.tree.map(of, weight_table(network.spec), params, is_leaf=lambda node: isinstance(node, Weight))


@functools.cache
def states_of(network):
    return jax.jit(lambda params, tokens: network.hidden(params, tokens).states)


def tokens_of(vocabulary, *shape):
    return jnp.asarray(np.random.default_rng(5).integers(0, vocabulary, shape), jnp.int32)


@pytest.mark.parametrize("name", [name for name in VARIANTS if "-" not in name])
def test_every_family_computes_what_the_rounded_weights_stand_for(name, tmp_path):
    network = Network(spec_from_hf(config_of(name), name))
    params = random_params(network)
    save_hf(tmp_path, network, params)
    held = load_hf(tmp_path, network, int8=True)
    kernels = jax.tree.leaves(held["layers"], is_leaf=lambda leaf: isinstance(leaf, Int8Kernel))
    assert sum(isinstance(leaf, Int8Kernel) for leaf in kernels) == (7 if network.spec.gated_mlp else 6)
    assert held["embedding"]["table"].dtype == jnp.float32
    tokens, states = tokens_of(network.spec.vocab_size, 2, 2, 5), states_of(network)
    got, rounded = states(held, tokens), states(as_floats(network, params), tokens)
    np.testing.assert_allclose(got, rounded, atol=2e-5, rtol=2e-5)
    assert np.abs(got - states(params, tokens)).max() > 50 * np.abs(got - rounded).max()


def test_values_are_the_nearest_and_a_column_of_zeros_stays():
    kernel = np.random.default_rng(0).standard_normal((2, 5, 3, 4)).astype(np.float32)
    kernel[1, :, 2, 3] = 0
    found = quantise(jnp.asarray(kernel), (1,))
    assert found.values.dtype == jnp.int8 and found.values.shape == kernel.shape and found.scale.shape == (2, 3, 4)
    back = np.asarray(found.values) * np.asarray(found.scale)[:, None]
    assert (np.abs(back - kernel) <= 0.5001 * np.asarray(found.scale)[:, None]).all()
    assert (np.abs(found.values).max(1)[kernel.any(1)] == 127).all() and not back[1, :, 2, 3].any()


@pytest.mark.parametrize("data, fsdp, tensor", [(1, 8, 1), (2, 1, 4)])
@pytest.mark.parametrize("name", ["llama", "qwen3_moe"])
def test_eight_devices_hold_the_same_numbers_and_gather_them_in_8_bits(name, data, fsdp, tensor, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_STAGED_BYTES", 20_000)  # a few tensors at a time
    moe = spec_from_hf(config_of("qwen3_moe"), name).moe if name == "qwen3_moe" else None
    network = Network(dataclasses.replace(SPEC, family=name, moe=moe, qk_norm="head" if moe else None))
    params = random_params(network)
    save_hf(tmp_path, network, params)
    mesh = make_mesh(types.SimpleNamespace(data=data, fsdp=fsdp, tensor=tensor), jax.devices()[:8])
    alone, spread = load_hf(tmp_path, network, int8=True), load_hf(tmp_path, network, mesh, int8=True)
    jax.tree.map(np.testing.assert_array_equal, alone, spread)
    q, o = (spread["layers"]["attention"][name]["kernel"] for name in "qo")
    assert q.values.addressable_shards[0].data.shape == (2, 32 // fsdp, 8 // tensor, 6)
    assert q.scale.addressable_shards[0].data.shape == (2, 8 // tensor, 6)
    assert o.scale.addressable_shards[0].data.shape == (2, 32 // fsdp)
    tokens = tokens_of(64, 8, 2, 5)
    expected = states_of(network)(alone, tokens)
    with jax.set_mesh(mesh):
        placed = jax.device_put(tokens, batch_sharding(mesh, 3))
        program = states_of(network).lower(spread, placed).compile()
        got = program(spread, placed)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    gathers = [line for line in program.as_text().splitlines() if " all-gather(" in line]
    assert any("= s8[" in line for line in gathers) == (fsdp > 1)


def test_a_checkpoint_in_bfloat16_loses_nothing_when_it_is_held_so(tmp_path):
    network = Network(SPEC)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32), random_params(network))
    save_hf(tmp_path, network, half)
    held = load_hf(tmp_path, network, dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(held)} == {"bfloat16"}
    tokens = tokens_of(64, 2, 2, 5)
    np.testing.assert_allclose(states_of(network)(held, tokens), states_of(network)(half, tokens), atol=1e-6)


def test_memory_is_a_quarter_and_no_float_copy_is_made(tmp_path):
    network = Network(ModelSpec(64, 128, 8, 4, 4, 32, 512))
    save_hf(tmp_path, network, network.init(jax.random.key(0)))
    sizes = {}
    for int8 in (False, True):
        params = load_hf(tmp_path, network, int8=int8)
        lowered = jax.jit(network.hidden).lower(params, tokens_of(64, 1, 1, 4))
        memory = lowered.compile().memory_analysis()
        sizes[int8] = sum(leaf.nbytes for leaf in jax.tree.leaves(params)), memory.temp_size_in_bytes
    layer = 4 * (4 * 128 * 128 + 3 * 128 * 512)  # float32 kernels
    assert sizes[True][0] < 0.27 * sizes[False][0]
    assert sizes[True][1] - sizes[False][1] < 1.1 * layer  # one layer at a time, of 8
