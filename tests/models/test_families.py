"""Every family without torch: its config.json read, written and refused, its weights out and in, on meshes."""

import contextlib
import dataclasses
import itertools
import json
import types

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from slick_jax.errors import InputError
from slick_jax.mesh import make_mesh
from slick_jax.models import loading, staging
from slick_jax.models.families import FAMILIES
from slick_jax.models.spec import spec_from_hf, spec_to_hf
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, save_hf
from tests.families import VARIANTS, config_of

# The file's name for a tensor that several weights lie in, or that tells a family apart.
TELLTALE = {
    "gpt2": ("transformer.h.1.attn.c_attn.weight", (48, 144)),
    "gpt_neox": ("gpt_neox.layers.2.attention.query_key_value.weight", (144, 48)),
    "phi3": ("model.layers.0.mlp.gate_up_proj.weight", (176, 48)),
    "qwen3_moe": ("model.layers.2.mlp.experts.4.down_proj.weight", (48, 28)),
    "gemma2": ("model.layers.0.post_feedforward_layernorm.weight", (48,)),
    "qwen3": ("model.layers.0.self_attn.k_norm.weight", (10,)),
}


def network_of(name, **changes):
    return Network(spec_from_hf(config_of(name) | changes, name))


def random_params(network, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape), x.dtype), network.abstract())


def same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


def test_every_family_has_an_entry():
    assert {name.split("-")[0] for name in VARIANTS} == set(FAMILIES)


@pytest.mark.parametrize("name", VARIANTS)
def test_config_is_written_as_it_was_read(name):
    spec = network_of(name).spec
    config = json.loads(json.dumps(spec_to_hf(spec)))
    assert config["model_type"] == name.split("-")[0] and config["architectures"][0].endswith(("LM", "LMHeadModel"))
    assert spec_from_hf(config, name) == spec


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_come_back_as_they_were_saved(name, tmp_path):
    network = network_of(name)
    params = random_params(network)
    save_hf(tmp_path, network, params)
    same(load_hf(tmp_path, network), params)
    if name in TELLTALE:
        tensor, shape = TELLTALE[name]
        assert load_file(tmp_path / "model.safetensors")[tensor].shape == shape


@pytest.mark.parametrize("name", ["qwen3_moe", "gpt2", "gpt_neox", "phi3"])
def test_large_weights_are_streamed_and_sharded(name, tmp_path, monkeypatch):
    """The path of tensors too large to be turned on the host: a few at a time, cut, some of them in bfloat16."""
    monkeypatch.setattr(loading, "_SMALL_BYTES", 0)
    monkeypatch.setattr(loading, "_STAGED_BYTES", 30_000)
    monkeypatch.setattr(staging, "_BLOCK_BYTES", 2_000)
    network = network_of(name)
    params = random_params(network)
    save_hf(tmp_path, network, params)
    mesh = make_mesh(types.SimpleNamespace(data=1, fsdp=4, tensor=2), jax.devices()[:8])
    same(load_hf(tmp_path, network), params)
    same(load_hf(tmp_path, network, mesh), params)
    tensors = load_file(tmp_path / "model.safetensors")
    mixed = {key: x.astype(ml_dtypes.bfloat16) if i % 2 else x for i, (key, x) in enumerate(sorted(tensors.items()))}
    save_file(mixed, tmp_path / "model.safetensors")
    monkeypatch.setattr(loading, "_SMALL_BYTES", 1 << 30)
    expected = load_hf(tmp_path, network)
    monkeypatch.setattr(loading, "_SMALL_BYTES", 0)
    same(load_hf(tmp_path, network, mesh), expected)
    broken = sorted(key for key in tensors if "1" in key and "weight" in key)[0]
    mixed[broken] = mixed[broken].copy()
    mixed[broken].flat[-1] = np.nan
    save_file(mixed, tmp_path / "model.safetensors")
    with pytest.raises(InputError) as error:
        load_hf(tmp_path, network, mesh)
    assert str(error.value).count("NaN") == 1 and broken in str(error.value)


def test_files_saved_without_the_head_leave_the_base_name_out(tmp_path):
    network = network_of("gpt2")
    params = random_params(network)
    save_hf(tmp_path, network, params)
    tensors = load_file(tmp_path / "model.safetensors")
    bare = {key.removeprefix("transformer."): x for key, x in tensors.items()}
    bare["h.0.attn.bias"] = np.ones((1, 1, 64, 64), np.bool_)  # the causal mask, as the published files keep it
    save_file(bare, tmp_path / "model.safetensors")
    same(load_hf(tmp_path, network), params)


def test_the_rotated_share_comes_back_as_the_same_number_of_entries():
    for head_dim in range(2, 130, 2):
        for rotated in range(2, head_dim, 2):
            spec = dataclasses.replace(network_of("gpt_neox").spec, head_dim=head_dim, rotary_dim=rotated)
            assert int(head_dim * spec_to_hf(spec)["rotary_pct"]) == rotated


# Sizes that 8 devices divide.
EVEN = {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 64}
EVEN_GPT2 = {"n_head": 8, "vocab_size": 64}
MATRICES = ("kernel", "table")


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "qwen3_moe"])
def test_the_same_logits_on_meshes(name, tmp_path):
    network = network_of(name, **(EVEN_GPT2 if name == "gpt2" else EVEN))
    params = random_params(network)
    save_hf(tmp_path, network, params)
    rng = np.random.default_rng(0)
    tokens, prefix = (jnp.asarray(rng.integers(0, 64, shape), jnp.int32) for shape in ((8, 2, 7), (8, 6)))
    lengths = jnp.arange(8) % 4 + 3

    def logits(params, tokens, prefix, lengths):
        kv = network.prefix(params, prefix, lengths)
        return network.logits(params, network.hidden(params, tokens, kv).states)

    expected = jax.jit(logits)(params, tokens, prefix, lengths)
    for sizes in ({"data": 1, "fsdp": 8, "tensor": 1}, {"data": 2, "fsdp": 1, "tensor": 4}):
        mesh = make_mesh(types.SimpleNamespace(**sizes), jax.devices()[:8])
        spread = load_hf(tmp_path, network, mesh)
        for path, array in jax.tree_util.tree_leaves_with_path(spread):
            key = jax.tree_util.keystr(path)
            # Experts' scores and learned positions have no axis that tensor parallelism cuts, and are small.
            if path[-1].key in MATRICES and not (sizes["tensor"] > 1 and ("router" in key or "positions" in key)):
                parts = sizes["fsdp"] * sizes["tensor"]
                assert array.sharding.shard_shape(array.shape) != array.shape, key
                assert array.addressable_shards[0].data.size * parts == array.size, key
        with jax.set_mesh(mesh):
            got = jax.jit(logits)(spread, tokens, prefix, lengths)
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["gemma3_text", "smollm3-untied-biases"])
def test_unrolled_layers_give_the_same(name):
    network = network_of(name)
    params, tokens = random_params(network), jnp.asarray(np.random.default_rng(1).integers(0, 67, (1, 2, 9)))
    unrolled = Network(network.spec, scan_layers=False)
    states = [jax.jit(one.hidden)(params, tokens).states for one in (network, unrolled)]
    np.testing.assert_allclose(*states, atol=1e-5)


@pytest.mark.parametrize(
    "name, changes, named",
    [
        ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_parameters.factor is missing"),
        ("llama", {"rope_scaling": {"rope_type": "proportional"}}, "rope_scaling is of kind 'proportional'"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}},
         "rope_parameters and rope_scaling are both given"),
        ("mistral", {"sliding_window": 0}, "sliding_window is 0"),
        ("mistral", {"layer_types": ["full_attention"] * 3}, "layer_types"),
        ("qwen2", {"layer_types": ["sliding_attention"] * 3}, "no sliding window is in use"),
        ("qwen2", {"attention_bias": True}, "attention_bias is True"),
        ("qwen3", {"layer_types": ["chunked_attention"] * 3}, "layer_types"),
        ("qwen3_moe", {"mlp_only_layers": [0]}, "mlp_only_layers is [0]"),
        ("qwen3_moe", {"decoder_sparse_step": 2}, "decoder_sparse_step is 2"),
        ("qwen3_moe", {"num_experts_per_tok": 9}, "moe takes 9 of 5 experts"),
        ("qwen3_moe", {"num_local_experts": 7}, "num_local_experts is 7"),
        ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        ("gemma2", {"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ("gemma2", {"attn_logit_softcapping": -1}, "attn_logit_softcapping is -1"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        ("gemma3_text", {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
         "rope_parameters.sliding_attention"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights is False"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ("gpt2", {"n_embd": None}, "n_embd is missing"),
        ("llama", {"is_causal": False}, "is_causal is False"),
        ("llama", {"pruned_heads": {"0": [1]}}, "pruned_heads is"),
        ("smollm3", {"no_rope_layers": [[1]] * 3}, "no_rope_layers is [[1], [1], [1]]"),
        ("qwen3", {"layer_types": [{}] * 3}, "layer_types is [{}, {}, {}]"),
        ("gemma3_text", {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": "x"}},
         "sliding_attention is 'x'; it must be an object"),
        ("gemma3_text", {"rope_parameters": {"full_attention": {"rope_theta": 1e6},
                                             "sliding_attention": {"rope_theta": "x"}}}, "rope_theta is 'x'"),
        ("gpt_neox", {"rotary_pct": 2}, "rotary_pct is 2"),
        ("gpt_neox", {"rope_theta": 7.0}, "rope_theta is 7.0"),
        ("gpt_neox", {"rotary_pct": 0.4}, "rotary_dim is 3"),
        ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "this family knows longrope alone"),
        ("phi3-tied-longrope", {"head_dim": 10}, "must have 5 numbers each"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers is [1, 0]"),
    ],
)  # fmt: skip
def test_refused_by_name(name, changes, named):
    with pytest.raises(InputError) as error:
        network_of(name, **changes)
    assert named in str(error.value) and name in str(error.value)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_wrong_value_is_never_more_than_an_input_error(name):
    config = spec_to_hf(network_of(name).spec)  # with every field of the family
    for field, wrong in itertools.product(config, ("many", -1, 0, [], {}, [1, "x"], {"a": 1}, True, 1.5, None)):
        if field == "model_type":
            continue
        with contextlib.suppress(InputError):
            spec = spec_from_hf(config | {field: wrong}, name)
            assert spec.problems() == []


def test_longrope_holds_the_model_to_its_original_context():
    spec = network_of("phi3-tied-longrope").spec
    assert spec.max_position_embeddings == 64 and spec.rope_scaling.attention_factor > 1
    assert spec_to_hf(spec)["max_position_embeddings"] == 128


# Of published files, what their families are known by.
PUBLISHED = {
    "Qwen2.5-0.5B": (
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
         "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
         "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
         "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
         "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
         "transformers_version": "4.40.1", "use_cache": True, "use_mrope": False, "use_sliding_window": False,
         "vocab_size": 151936},
        {"head_dim": 64, "windows": None, "qkv_bias": True, "attention_bias": False, "rope_theta": 1e6},
    ),
    "gemma-2-2b": (
        {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "attention_bias": False,
         "attn_logit_softcapping": 50.0, "cache_implementation": "hybrid", "final_logit_softcapping": 30.0,
         "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
         "hidden_size": 2304, "intermediate_size": 9216, "max_position_embeddings": 8192, "num_attention_heads": 8,
         "num_hidden_layers": 26, "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
         "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000},
        {"windows": (4096, None) * 13, "embedding_scale": 48.0, "attention_scale": 1 / 16, "tie_embeddings": True},
    ),
    "gemma-3-1b": (
        {"model_type": "gemma3_text", "attention_bias": False, "attn_logit_softcapping": None,
         "cache_implementation": "hybrid", "final_logit_softcapping": None, "head_dim": 256,
         "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
         "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
         "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": None,
         "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6, "vocab_size": 262144},
        {"windows": ((512,) * 5 + (None,)) * 4 + (512,) * 2, "rope_theta": 1000000, "local_rope_theta": 10000,
         "ropes": (("local",) * 5 + ("global",)) * 4 + ("local",) * 2},
    ),
    "gpt2": (
        {"model_type": "gpt2", "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
         "attn_pdrop": 0.1, "embd_pdrop": 0.1, "layer_norm_epsilon": 1e-05, "n_ctx": 1024, "n_embd": 768, "n_head": 12,
         "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": None,
         "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index",
         "summary_use_proj": True, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
         "vocab_size": 50257},
        {"d_mlp": 3072, "n_kv_heads": 12, "tie_embeddings": True, "activation": "gelu_pytorch_tanh"},
    ),
    "distilgpt2 and gpt2-medium": (
        {"model_type": "gpt2", "_num_labels": 1, "activation_function": "gelu_new", "n_embd": 768, "n_head": 12,
         "n_layer": 6, "n_positions": 1024, "n_special": 0, "predict_special_tokens": True, "vocab_size": 50257},
        {"n_layers": 6},
    ),
    "gpt-neox-20b": (
        {"model_type": "gpt_neox", "attention_probs_dropout_prob": 0, "hidden_act": "gelu_fast",
         "hidden_dropout_prob": 0, "hidden_size": 6144, "intermediate_size": 24576, "layer_norm_eps": 1e-05,
         "max_position_embeddings": 2048, "num_attention_heads": 64, "num_hidden_layers": 44, "rotary_emb_base": 10000,
         "rotary_pct": 0.25, "tie_word_embeddings": False, "use_parallel_residual": True, "vocab_size": 50432},
        {"activation": "gelu_pytorch_tanh", "rotary_dim": 24},
    ),
    "pythia-70m": (
        {"model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 512, "intermediate_size": 2048,
         "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "num_attention_heads": 8, "num_hidden_layers": 6,
         "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": False, "use_parallel_residual": True,
         "vocab_size": 50304},
        {"rotary_dim": 16, "parallel_residual": True, "norm": "layer", "attention_bias": True, "qkv_bias": False},
    ),
    "Qwen3-30B-A3B": (
        {"model_type": "qwen3_moe", "attention_bias": False, "decoder_sparse_step": 1, "head_dim": 128,
         "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960,
         "max_window_layers": 48, "mlp_only_layers": [], "moe_intermediate_size": 768, "norm_topk_prob": True,
         "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
         "num_key_value_heads": 4, "output_router_logits": False, "rms_norm_eps": 1e-06, "rope_scaling": None,
         "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": None,
         "tie_word_embeddings": False, "use_sliding_window": False, "vocab_size": 151936},
        {"qk_norm": "head", "windows": None},
    ),
    "SmolLM3-3B": (
        {"model_type": "smollm3", "attention_bias": False, "hidden_act": "silu", "hidden_size": 2048,
         "intermediate_size": 11008, "layer_types": ["full_attention"] * 36, "max_position_embeddings": 65536,
         "max_window_layers": 28, "mlp_bias": False, "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0] * 9,
         "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 4, "pretraining_tp": 2,
         "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 5000000.0, "sliding_window": None,
         "tie_word_embeddings": True, "use_sliding_window": False, "vocab_size": 128256},
        {"ropes": ("global", "global", "global", "none") * 9, "rope_theta": 5e6},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_understood(name):
    config, expected = PUBLISHED[name]
    spec = spec_from_hf(config, name)
    assert {field: getattr(spec, field) for field in expected} == expected
