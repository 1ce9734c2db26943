"""Phi-3, Phi-3.5 and Phi-4-mini: fused projections, partial rotary positions, LongRoPE within the original context."""

from typing import Any

from slick_jax.models.families.family import Family, Values
from slick_jax.models.families.fields import Fields
from slick_jax.models.families.rope_fields import read_rope, read_share, write_rope, write_share
from slick_jax.models.families.windows import shared_window, uniform, window_size
from slick_jax.models.hf_layout import LLAMA_MODULES, Joined, Layout
from slick_jax.models.spec import ModelSpec

_QKV = Joined("self_attn.qkv_proj", ("q", "k", "v"))
_GATE_UP = Joined("mlp.gate_up_proj", ("gate", "up"))


def _more(fields: Fields, values: Values) -> Values:
    rope, name, rest = read_rope(
        fields, values["max_position_embeddings"], original=4096, synonyms={"su": "longrope", "yarn": "longrope"}
    )
    share = rest.get("partial_rotary_factor", fields.get("partial_rotary_factor", 1.0))
    fields.same("partial_rotary_factor", share)
    rotated = read_share(fields, "partial_rotary_factor", share, values["head_dim"])
    scaling, half = rope["rope_scaling"], (values["head_dim"] if rotated is None else rotated) // 2
    if scaling is not None and scaling.kind != "longrope":
        fields.problems.append(f"{name} is of kind {scaling.kind!r}; this family knows longrope alone")
    elif scaling is not None and {len(scaling.short_factor), len(scaling.long_factor)} != {half}:
        fields.problems.append(f"{name}: short_factor and long_factor must have {half} numbers each")
    return rope | {"windows": uniform(values["n_layers"], window_size(fields, None)), "rotary_dim": rotated}


def _back(spec: ModelSpec) -> dict[str, Any]:
    config = {"original_max_position_embeddings": spec.max_position_embeddings, "sliding_window": shared_window(spec)}
    # Where no id is given, transformers assumes one that a smaller vocabulary does not have.
    return config | write_rope(spec) | {"partial_rotary_factor": write_share(spec), "pad_token_id": None}


FAMILIES = (
    Family(
        "phi3",
        "Phi3ForCausalLM",
        defaults={"norm_eps": 1e-5, "max_position_embeddings": 4096},
        rope_theta=None,
        more=_more,
        back=_back,
        # Published files name the code they once came with; the family is built in since.
        harmless=("auto_map",),
        neutral={"interpolate_factor": 1, "full_attn_mod": 1},
        layout=Layout(
            modules={
                **LLAMA_MODULES,
                **dict.fromkeys(("q", "k", "v"), _QKV),
                **dict.fromkeys(("gate", "up"), _GATE_UP),
            }
        ),
    ),
)
