"""Granite: Llama with multipliers on embeddings, scores, branches and logits."""

from typing import Any

from slick_jax.models.families.family import SIZES, Family, Values
from slick_jax.models.families.fields import Fields
from slick_jax.models.spec import ModelSpec

# Field of config.json -> field of ModelSpec; 1 where the file is silent.
_MULTIPLIERS = {
    "embedding_multiplier": "embedding_scale",
    "attention_multiplier": "attention_scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_divisor",
}


def _more(fields: Fields, values: Values) -> Values:
    return {ours: fields.number(theirs, 1.0) for theirs, ours in _MULTIPLIERS.items()}


def _back(spec: ModelSpec) -> dict[str, Any]:
    return {theirs: getattr(spec, ours) for theirs, ours in _MULTIPLIERS.items()}


FAMILIES = (
    Family(
        "granite",
        "GraniteForCausalLM",
        fields={**SIZES, "attention_bias": "attention_bias", "mlp_bias": "mlp_bias"},
        more=_more,
        back=_back,
    ),
)
