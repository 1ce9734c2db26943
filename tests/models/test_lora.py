"""Adapters: what they compute, how they start, where they lie, and what is refused."""

import dataclasses
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.config import MeshConfig
from slick_jax.errors import InputError
from slick_jax.mesh import make_mesh
from slick_jax.models.lora import Adapter, LoraSpec, adapter_table, join, merge, resolve
from slick_jax.models.peft_folder import load_adapter, read_lora, save_adapter
from slick_jax.models.spec import ModelSpec, MoE
from slick_jax.models.transformer import Network
from slick_jax.models.weights import save_hf

SPEC = ModelSpec(vocab_size=40, d_model=16, n_layers=3, n_heads=4, n_kv_heads=2, head_dim=6, d_mlp=24)
LORA = resolve(SPEC, LoraSpec(4, 6.0, ()), "here")
NETWORK = Network(SPEC, lora=LORA)
TOKENS = np.random.default_rng(0).integers(0, 40, (1, 5, 9)).astype(np.int32)
STATES = jax.jit(
    lambda network, params, tokens, rng=None: network.hidden(params, tokens, rng=rng).states, static_argnums=0
)


@pytest.fixture(scope="module")
def base():
    return Network(SPEC).init(jax.random.key(0))


@pytest.fixture(scope="module")
def adapters():
    """Adapters of which neither factor is zero."""
    leaves, tree = jax.tree.flatten(NETWORK.abstract())
    keys = jax.random.split(jax.random.key(7), len(leaves))
    return tree.unflatten([0.15 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)])


def test_fresh_adapters_change_nothing(base):
    fresh = NETWORK.init(jax.random.key(1))
    np.testing.assert_array_equal(
        STATES(NETWORK, join(base, fresh), TOKENS), STATES(Network(SPEC), base, TOKENS)
    )


def test_initial_values_are_those_of_kaiming_uniform():
    """torch.nn.init.kaiming_uniform_(a=sqrt(5)) of [rank, inputs] is uniform within 1 / sqrt(inputs)."""
    spec = dataclasses.replace(SPEC, d_model=256, d_mlp=100)
    fresh = Network(spec, lora=resolve(spec, LoraSpec(64, 1.0, ()), "here")).init(jax.random.key(0))["layers"]
    for part, name, inputs in (("attention", "q", 256), ("attention", "o", 24), ("mlp", "down", 100)):
        a, b = fresh[part][name]["lora"]["a"], fresh[part][name]["lora"]["b"]
        bound = inputs**-0.5
        assert 0.98 * bound < np.abs(a).max() <= bound
        assert np.std(a) == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert a.shape == (3, *((4, 6) if name == "o" else (inputs,)), 64) and not b.any()
    q, k = (fresh["attention"][name]["lora"]["a"] for name in "qk")
    assert not np.array_equal(q, k) and not np.array_equal(q[0], q[1])


@pytest.mark.parametrize("rslora", [False, True])
def test_it_is_the_model_with_the_product_added(base, adapters, rslora):
    lora = dataclasses.replace(LORA, rslora=rslora)
    scale = 6 / 2 if rslora else 6 / 4
    assert lora.scale == scale
    naive = jax.tree.map(jnp.array, base)
    for part, names in {"attention": "qkvo", "mlp": ("gate", "up", "down")}.items():
        for name in names:
            factors = adapters["layers"][part][name]["lora"]
            kernel = naive["layers"][part][name]["kernel"]
            for layer in range(3):
                a, b = (np.float64(factors[one][layer]) for one in "ab")
                product = (a.reshape(-1, 4) @ b.reshape(4, -1)).reshape(kernel.shape[1:])
                kernel = kernel.at[layer].add(scale * product)
            naive["layers"][part][name]["kernel"] = kernel
    expected = STATES(Network(SPEC), naive, TOKENS)
    got = STATES(Network(SPEC, lora=lora), join(base, adapters), TOKENS)
    assert np.abs(expected - STATES(Network(SPEC), base, TOKENS)).max() > 0.05
    np.testing.assert_allclose(got, expected, atol=2e-5)
    merged = merge(lora, base, adapters)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), merged, naive)


def test_a_bfloat16_base_is_merged_in_float32(base, adapters):
    coarse = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), base)
    merged = merge(LORA, coarse, adapters)
    assert {leaf.dtype for leaf in jax.tree.leaves(merged)} == {jnp.dtype("float32")}
    got, expected = STATES(Network(SPEC), merged, TOKENS), STATES(NETWORK, join(coarse, adapters), TOKENS)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_dropout_follows_the_key_and_falls_on_the_adapters_alone(base, adapters):
    network = Network(SPEC, lora=dataclasses.replace(LORA, dropout=0.4))
    params = join(base, adapters)
    one, again, other = (STATES(network, params, TOKENS, jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_array_equal(STATES(network, params, TOKENS), STATES(NETWORK, params, TOKENS))
    silent = join(base, network.init(jax.random.key(0)))  # B is zero
    np.testing.assert_array_equal(
        STATES(network, silent, TOKENS, jax.random.key(1)), STATES(NETWORK, silent, TOKENS)
    )


def test_dropout_of_a_map_is_that_of_its_layer_and_name(base):
    """Only v is adapted: its branch alone, layer by layer, has masks that differ, and their mean is the plain map."""
    lora = resolve(SPEC, LoraSpec(4, 6.0, ("v_proj",), dropout=0.5), "here")
    network = Network(SPEC, lora=lora)
    leaves, tree = jax.tree.flatten(network.abstract())
    params = join(base, tree.unflatten([jnp.ones(leaf.shape) * 0.01 for leaf in leaves]))
    many = [STATES(network, params, TOKENS, jax.random.key(k)) for k in range(200)]
    plain = STATES(network, params, TOKENS)
    spread = np.std(many, axis=0).mean()
    assert spread > 1e-4 and np.abs(np.mean(many, axis=0) - plain).mean() < spread / 5


def test_adapters_lie_with_their_maps():
    mesh = make_mesh(MeshConfig(1, 2, 4))
    spec = dataclasses.replace(SPEC, n_kv_heads=4)
    found = Network(spec, lora=resolve(spec, LoraSpec(4, 1.0, ()), "here")).shardings(mesh)["layers"]
    q, o, down = (found[part][name]["lora"] for part, name in (("attention", "q"), ("attention", "o"), ("mlp", "down")))
    assert tuple(q["a"].spec) == (None, "fsdp", None) and tuple(q["b"].spec) == (None, None, "tensor", None)
    assert tuple(o["a"].spec) == (None, "tensor", None, None) and tuple(o["b"].spec) == (None, None, "fsdp")
    assert tuple(down["a"].spec) == (None, "tensor", None) and tuple(down["b"].spec) == (None, None, "fsdp")


def test_names_are_those_of_peft():
    names = {
        name
        for adapter in jax.tree.leaves(adapter_table(SPEC, LORA), is_leaf=lambda node: isinstance(node, Adapter))
        for name in adapter.hf_names()
    }
    assert len(names) == 3 * 7 * 2
    assert "base_model.model.model.layers.2.mlp.down_proj.lora_A.weight" in names
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight" in names


def test_targets():
    assert LORA.targets == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    some = resolve(SPEC, LoraSpec(2, 1.0, ("up_proj", "q_proj")), "here")
    assert some.targets == ("q_proj", "up_proj")
    assert set(adapter_table(SPEC, some)["layers"]["attention"]) == {"q"}
    with pytest.raises(InputError, match=r"here: this model \(llama\) has no c_attn, lm_head to adapt; it has q_proj"):
        resolve(SPEC, LoraSpec(2, 1.0, ("c_attn", "q_proj", "lm_head")), "here")
    experts = dataclasses.replace(SPEC, family="qwen3_moe", moe=MoE(4, 2, 8, True))
    assert resolve(experts, LoraSpec(2, 1.0, ()), "here").targets == ("q_proj", "k_proj", "v_proj", "o_proj")


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2"])
def test_a_peft_folder_comes_back(family, tmp_path):
    learned = {"positions": "learned", "norm": "layer", "gated_mlp": False, "n_kv_heads": 4}
    spec = dataclasses.replace(SPEC, family=family, **(learned if family == "gpt2" else {}))
    lora = resolve(spec, LoraSpec(4, 6.0, (), dropout=0.0, rslora=True), "here")
    network = Network(spec, lora=lora)
    params = jax.tree.map(lambda leaf: jnp.asarray(np.random.default_rng(1).normal(size=leaf.shape), jnp.float32),
                          network.abstract())  # fmt: skip
    (tmp_path / "model.safetensors").write_bytes(b"of a model that was here")
    save_adapter(tmp_path, spec, lora, params, base="/base")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert read_lora(tmp_path, spec) == lora
    mesh = make_mesh(MeshConfig(2, 2, 2))
    found = load_adapter(tmp_path, network, mesh)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    jax.tree.map(lambda leaf, place: _assert_same_place(leaf.sharding, place), found, network.shardings(mesh))
    if family != "llama":  # the adapters of a shared module are joined there, at the same scale
        config = json.loads((tmp_path / "adapter_config.json").read_text())
        name = {"phi3": "qkv_proj", "gpt2": "c_attn"}[family]
        assert config["rank_pattern"][name] == 12
        assert config["alpha_pattern"][name] / math.sqrt(12) == pytest.approx(lora.scale)


def test_a_peft_folder_that_does_not_fit(tmp_path):
    save_adapter(tmp_path, SPEC, LORA, NETWORK.init(jax.random.key(0)), base="")
    other = Network(dataclasses.replace(SPEC, n_layers=4, d_mlp=20), lora=LORA)
    with pytest.raises(InputError) as error:
        load_adapter(tmp_path, other)
    for what in ("missing: base_model.model.model.layers.3.mlp.up_proj.lora_A", "mis-shaped: base_model.model.model."):
        assert what in str(error.value)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    with pytest.raises(InputError, match="no r, lora_alpha, target_modules: not the config of a LoRA adapter"):
        read_lora(tmp_path, SPEC)


@pytest.mark.parametrize(
    "name, value",
    [("r", "4"), ("r", 0), ("lora_alpha", "x"), ("target_modules", [1]), ("target_modules", []),
     ("task_type", "SEQ_CLS"), ("base_model_name_or_path", 5)],
)  # fmt: skip
def test_a_bad_adapter_config_is_named(tmp_path, name, value):
    save_adapter(tmp_path, SPEC, LORA, NETWORK.init(jax.random.key(0)), base="")
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(InputError, match=f"{name} is {re.escape(repr(value))}"):
        read_lora(tmp_path, SPEC)


def test_a_model_written_over_an_adapter_is_a_model_alone(base, tmp_path):
    save_adapter(tmp_path, SPEC, LORA, NETWORK.init(jax.random.key(0)), base="")
    save_hf(tmp_path, Network(SPEC), base)
    assert not list(tmp_path.glob("adapter_*"))


def _assert_same_place(one, other):
    assert one.is_equivalent_to(other, len(one.spec))
