"""Llama 2, 3, 3.1 and later, and everything published in their format (SmolLM2, TinyLlama)."""

from slick_jax.models.families.family import SIZES, Family

FAMILIES = (
    Family(
        "llama",
        "LlamaForCausalLM",
        fields={**SIZES, "attention_bias": "attention_bias", "mlp_bias": "mlp_bias"},
    ),
)
