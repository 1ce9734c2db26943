"""Mistral 7B and its kin: Llama with one sliding window in all layers."""

from typing import Any

from slick_jax.models.families.family import Family, Values
from slick_jax.models.families.fields import Fields
from slick_jax.models.families.windows import shared_window, uniform, window_size
from slick_jax.models.spec import ModelSpec


def _more(fields: Fields, values: Values) -> Values:
    return {"windows": uniform(values["n_layers"], window_size(fields, 4096))}


def _back(spec: ModelSpec) -> dict[str, Any]:
    return {"sliding_window": shared_window(spec)}


FAMILIES = (
    Family(
        "mistral",
        "MistralForCausalLM",
        defaults={"n_kv_heads": 8, "max_position_embeddings": 4096 * 32},
        more=_more,
        back=_back,
    ),
)
