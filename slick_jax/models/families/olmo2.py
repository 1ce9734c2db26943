"""OLMo 2: norms behind the branches instead of before them, and over all heads of q and k joined."""

from slick_jax.models.families.family import SIZES, Family
from slick_jax.models.hf_layout import LLAMA_MODULES, Layout

FAMILIES = (
    Family(
        "olmo2",
        "Olmo2ForCausalLM",
        fields={**SIZES, "attention_bias": "attention_bias"},
        defaults={"norm_eps": 1e-5},
        fixed={"norm_placement": "post", "qk_norm": "full"},
        layout=Layout(
            modules={
                **LLAMA_MODULES,
                "attention_out_norm": "post_attention_layernorm",
                "mlp_out_norm": "post_feedforward_layernorm",
            }
        ),
    ),
)
