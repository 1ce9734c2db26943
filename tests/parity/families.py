"""Tiny models of every family by transformers: one entry per variant, named family or family-variant.

Sizes are odd on purpose: head_dim 10 is not 48 / 6, and two query heads share each of 3 key-value heads. Windows are
shorter than the texts of the tests.
"""

import torch
import transformers

VOCABULARY = 67
_SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3,
    head_dim=10, intermediate_size=88, max_position_embeddings=128,
)  # fmt: skip
_GPT2 = dict(vocab_size=VOCABULARY, n_embd=48, n_layer=3, n_head=6, n_positions=64)
_NEOX = {name: value for name, value in _SIZES.items() if name not in ("head_dim", "num_key_value_heads")}
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
_LONG = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3, 1.7],
    "long_factor": [1.0, 2.0, 3.0, 4.0], "original_max_position_embeddings": 64,
}  # fmt: skip
_BOTH_ROPES = {
    "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 70000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
}
_MOE = dict(_SIZES, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=28)

# Name -> class prefix in transformers, and the arguments of its config.
VARIANTS: dict[str, tuple[str, dict]] = {
    "llama": ("Llama", dict(_SIZES, tie_word_embeddings=False)),
    "llama-tied-biases": ("Llama", dict(_SIZES, tie_word_embeddings=True, attention_bias=True, mlp_bias=True)),
    "llama-gelu-rope_base": (
        "Llama",
        dict(_SIZES, hidden_act="gelu_pytorch_tanh", rms_norm_eps=1e-3, num_key_value_heads=1,
             rope_parameters={"rope_type": "default", "rope_theta": 777.0}),
    ),
    "llama-linear": (
        "Llama", dict(_SIZES, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0})
    ),
    "llama-llama3": ("Llama", dict(_SIZES, rope_parameters=_LLAMA3)),
    "llama-yarn": ("Llama", dict(_SIZES, rope_parameters=_YARN)),
    "llama-yarn-mscale": (
        "Llama",
        dict(_SIZES, rope_parameters={**_YARN, "mscale": 0.7, "mscale_all_dim": 1.2, "beta_fast": 4.0,
                                      "beta_slow": 0.5, "truncate": False}),
    ),
    "llama-dynamic": (
        "Llama", dict(_SIZES, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0})
    ),
    "mistral": ("Mistral", dict(_SIZES, sliding_window=5)),
    "mistral-tied-whole": ("Mistral", dict(_SIZES, sliding_window=None, tie_word_embeddings=True)),
    "qwen2": ("Qwen2", dict(_SIZES)),
    "qwen2-tied-windows": (
        "Qwen2",
        dict(_SIZES, tie_word_embeddings=True, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    ),
    "qwen3": ("Qwen3", dict(_SIZES)),
    "qwen3-tied-biases": ("Qwen3", dict(_SIZES, tie_word_embeddings=True, attention_bias=True)),
    "qwen3_moe": ("Qwen3Moe", dict(_MOE, norm_topk_prob=True)),
    "qwen3_moe-tied-windows": (
        "Qwen3Moe",
        dict(_MOE, tie_word_embeddings=True, attention_bias=True, use_sliding_window=True, sliding_window=7),
    ),
    "gemma": ("Gemma", dict(_SIZES)),
    "gemma-untied-biases": ("Gemma", dict(_SIZES, tie_word_embeddings=False, attention_bias=True)),
    "gemma2": ("Gemma2", dict(_SIZES, sliding_window=5, query_pre_attn_scalar=24, attn_logit_softcapping=3.0,
                              final_logit_softcapping=9.0)),
    "gemma2-untied-biases": (
        "Gemma2",
        dict(_SIZES, sliding_window=9, tie_word_embeddings=False, attention_bias=True, attn_logit_softcapping=None,
             final_logit_softcapping=None),
    ),
    "gemma3_text": (
        "Gemma3Text",
        dict(_SIZES, sliding_window=5, query_pre_attn_scalar=24, rope_parameters=_BOTH_ROPES,
             layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    ),
    "gemma3_text-untied-biases": (
        "Gemma3Text", dict(_SIZES, sliding_window=6, sliding_window_pattern=2, tie_word_embeddings=False,
                           attention_bias=True, final_logit_softcapping=9.0)
    ),
    "gpt2": ("GPT2", dict(_GPT2)),
    "gpt2-untied": ("GPT2", dict(_GPT2, n_inner=70, tie_word_embeddings=False, activation_function="relu")),
    "gpt_neox": ("GPTNeoX", dict(_NEOX, rotary_pct=0.5)),
    "gpt_neox-tied-serial": (
        "GPTNeoX", dict(_NEOX, rotary_pct=1.0, use_parallel_residual=False, tie_word_embeddings=True,
                        attention_bias=False, rotary_emb_base=500)
    ),
    "phi3": ("Phi3", dict(_SIZES, sliding_window=5, partial_rotary_factor=0.8)),
    "phi3-tied-longrope": ("Phi3", dict(_SIZES, head_dim=8, tie_word_embeddings=True, rope_parameters=_LONG,
                                        original_max_position_embeddings=64)),
    "smollm3": ("SmolLM3", dict(_SIZES, no_rope_layers=[1, 0, 1])),
    "smollm3-untied-biases": (
        "SmolLM3",
        dict(_SIZES, no_rope_layer_interval=3, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
             use_sliding_window=True, sliding_window=6),
    ),
}  # fmt: skip


def build(name: str) -> torch.nn.Module:
    """The model of an entry with random weights, none of them at the constants that initialisers leave."""
    prefix, arguments = VARIANTS[name]
    config = getattr(transformers, f"{prefix}Config")(
        **arguments, bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager"
    )
    model_class = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(prefix, f"{prefix}ForCausalLM")
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += (0.3 if parameter.ndim == 1 else 0.1) * torch.randn_like(parameter)
    return model
