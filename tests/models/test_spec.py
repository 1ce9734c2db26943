"""Reading config.json: what is understood, what is refused, and by which name."""

import pytest

from slick_jax.errors import InputError
from slick_jax.models.spec import ModelSpec, RopeScaling, spec_from_hf, spec_to_hf

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "intermediate_size": 40,
    "rms_norm_eps": 1e-6,
    "rope_theta": 500000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0",
    "eos_token_id": [1, 2],
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def read(**changes):
    config = {**CONFIG, **changes}
    return spec_from_hf({name: value for name, value in config.items() if value is not ...}, "here/config.json")


def test_sizes_come_from_the_file():
    assert read() == ModelSpec(
        50, 24, 2, 6, 3, 4, 40, rope_theta=500000.0, norm_eps=1e-6, tie_embeddings=True
    )
    assert read(head_dim=10).head_dim == 10
    assert read(num_key_value_heads=...).n_kv_heads == 6
    assert read(hidden_act="swish").activation == "silu"
    # Where the file is silent, what transformers assumes holds.
    silent = read(rms_norm_eps=..., rope_theta=..., tie_word_embeddings=...)
    assert (silent.norm_eps, silent.rope_theta, silent.tie_embeddings) == (1e-6, 10000.0, False)


@pytest.mark.parametrize(
    "changes, scaling",
    [
        ({"rope_scaling": None}, None),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, RopeScaling("linear", 2.0)),
        ({"rope_scaling": {"rope_type": "llama3", **LLAMA3}}, RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)),
    ],
)
def test_rope_scaling(changes, scaling):
    assert read(**changes).rope_scaling == scaling


def test_rope_parameters_of_newer_files():
    spec = read(rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 123.0})
    assert (spec.rope_theta, spec.rope_scaling) == (123.0, None)
    spec = read(rope_theta=..., rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3})
    assert spec.rope_scaling.factor == 8.0


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"model_type": "bloom"}, "model_type is 'bloom'"),
        ({"model_type": ...}, "model_type"),
        ({"hidden_act": "relu6"}, "hidden_act is 'relu6'"),
        ({"rope_scaling": {"rope_type": "su", "factor": 4.0}}, "rope_scaling is of kind 'su'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "rope_scaling.low_freq_factor is missing"),
        ({"rope_scaling": {"rope_type": "linear", "factor": -1}}, "rope_scaling.factor is -1"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "beta_fast": 32}}, "rope_scaling.beta_fast"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear'"),
        ({"sliding_window": 4096}, "sliding_window is 4096"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map"),
        ({"logit_scale": 0.5}, "logit_scale"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"rope_interleaved": True}, "rope_interleaved"),
        ({"hidden_size": ...}, "hidden_size is missing"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_key_value_heads": 4}, "num_attention_heads 6 is not a multiple of"),
        ({"head_dim": 5}, "head_dim is 5"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"rms_norm_eps": 0}, "rms_norm_eps is 0"),
        ({"rope_theta": -5.0}, "rope_theta is -5.0"),
    ],
)
def test_refused_by_name(changes, named):
    with pytest.raises(InputError) as error:
        read(**changes)
    assert named in str(error.value) and "here/config.json" in str(error.value)


def test_all_problems_come_together():
    with pytest.raises(InputError) as error:
        read(sliding_window=64, hidden_size=..., attn_logit_softcapping=30.0)
    assert all(name in str(error.value) for name in ("sliding_window", "hidden_size", "attn_logit_softcapping"))


def test_neutral_values_pass():
    assert read(sliding_window=None, use_sliding_window=False, partial_rotary_factor=1.0, quantization_config=None)


@pytest.mark.parametrize("scaling", [None, RopeScaling("linear", 2.0), RopeScaling("llama3", 8.0, 1.0, 4.0, 4096)])
def test_written_and_read_again(scaling):
    spec = ModelSpec(50, 24, 2, 6, 3, 10, 40, 7000.0, 1e-6, True, True, True, "gelu", scaling, 512)
    config = spec_to_hf(spec, bos_token_id=1)
    assert config["bos_token_id"] == 1 and config["architectures"] == ["LlamaForCausalLM"]
    assert spec_from_hf(config, "x") == spec
