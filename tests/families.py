"""Tiny models of every family as their config.json: one entry per variant, named family or family-variant.

Sizes are odd on purpose: head_dim 10 is not 48 / 6, and two query heads share each of 3 key-value heads. Windows are
shorter than the texts of the tests. Both tests/models and tests/parity go over all of them.
"""

from typing import Any

VOCABULARY = 67
_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 3, "head_dim": 10, "intermediate_size": 88, "max_position_embeddings": 128,
}  # fmt: skip
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 64}
_NEOX = {name: value for name, value in _SIZES.items() if name not in ("head_dim", "num_key_value_heads")}
_MOE = _SIZES | {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 28}
_TIED, _UNTIED, _BIASED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {"attention_bias": True}
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
_YARN_2 = _YARN | {"mscale": 0.7, "mscale_all_dim": 1.2, "beta_fast": 4.0, "beta_slow": 0.5, "truncate": False}
_LONG = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3, 1.7],
    "long_factor": [1.0, 2.0, 3.0, 4.0], "original_max_position_embeddings": 64,
}  # fmt: skip
_BOTH_ROPES = {
    "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 70000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
}

# Name -> config.json without its model_type, which is the name up to the first '-'.
VARIANTS: dict[str, dict[str, Any]] = {
    "llama": _SIZES | _UNTIED,
    "llama-tied-biases": _SIZES | _TIED | _BIASED | {"mlp_bias": True},
    "llama-gelu-rope_base": _SIZES | {
        "hidden_act": "gelu_pytorch_tanh", "rms_norm_eps": 1e-3, "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 777.0},
    },
    "llama-linear": _SIZES | {"rope_theta": 1000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "llama-llama3": _SIZES | {"rope_parameters": _LLAMA3},
    "llama-yarn": _SIZES | {"rope_parameters": _YARN},
    "llama-yarn-mscale": _SIZES | {"rope_parameters": _YARN_2},
    "llama-dynamic": _SIZES | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}},
    "mistral": _SIZES | {"sliding_window": 5},
    "mistral-tied-whole": _SIZES | _TIED | {"sliding_window": None},
    "qwen2": _SIZES,
    "qwen2-tied-windows": _SIZES | _TIED | {
        "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1,
    },
    "qwen3": _SIZES,
    "qwen3-tied-biases": _SIZES | _TIED | _BIASED,
    "qwen3_moe": _MOE | {"norm_topk_prob": True},
    "qwen3_moe-tied-windows": _MOE | _TIED | _BIASED | {"use_sliding_window": True, "sliding_window": 7},
    "gemma": _SIZES,
    "gemma-untied-biases": _SIZES | _UNTIED | _BIASED,
    "gemma2": _SIZES | {
        "sliding_window": 5, "query_pre_attn_scalar": 24, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 9.0,
    },
    "gemma2-untied-biases": _SIZES | _UNTIED | _BIASED | {
        "sliding_window": 9, "attn_logit_softcapping": None, "final_logit_softcapping": None,
    },
    "gemma3_text": _SIZES | {
        "sliding_window": 5, "query_pre_attn_scalar": 24, "rope_parameters": _BOTH_ROPES,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "gemma3_text-untied-biases": _SIZES | _UNTIED | _BIASED | {
        "sliding_window": 6, "sliding_window_pattern": 2, "final_logit_softcapping": 9.0,
        "rope_theta": 50000.0, "rope_local_base_freq": 200.0,
    },
    "gpt2": _GPT2,
    "gpt2-untied": _GPT2 | _UNTIED | {"n_inner": 70, "activation_function": "relu"},
    "gpt_neox": _NEOX | {"rotary_pct": 0.5},
    "gpt_neox-tied-serial": _NEOX | _TIED | {
        "rotary_pct": 1.0, "use_parallel_residual": False, "attention_bias": False, "rotary_emb_base": 500,
    },
    "granite": _SIZES | {
        "embedding_multiplier": 7.0, "attention_multiplier": 0.1, "residual_multiplier": 0.4, "logits_scaling": 3.0,
    },
    "granite-tied-biases": _SIZES | _TIED | _BIASED | {"mlp_bias": True, "residual_multiplier": 1.7},
    "olmo2": _SIZES | {"rms_norm_eps": 1e-3},
    "olmo2-tied-biases": _SIZES | _TIED | _BIASED | {"rope_theta": 500.0},
    "phi3": _SIZES | {"sliding_window": 5, "partial_rotary_factor": 0.8},
    "phi3-tied-longrope": _SIZES | _TIED | {
        "head_dim": 8, "rope_parameters": _LONG, "original_max_position_embeddings": 64,
    },
    "smollm3": _SIZES | {"no_rope_layers": [1, 0, 1]},
    "smollm3-untied-biases": _SIZES | _UNTIED | _BIASED | {
        "mlp_bias": True, "no_rope_layer_interval": 3, "use_sliding_window": True, "sliding_window": 6,
    },
}  # fmt: skip


def config_of(name: str) -> dict[str, Any]:
    """The config.json of an entry."""
    return {"model_type": name.split("-")[0], **VARIANTS[name]}
