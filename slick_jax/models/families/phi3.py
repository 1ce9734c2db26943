"""Phi-3, Phi-3.5 and Phi-4-mini: fused projections, partial rotary positions, LongRoPE within the original context."""

from typing import Any

from slick_jax.models.families.family import Family, Values
from slick_jax.models.families.fields import Fields, is_positive, short
from slick_jax.models.families.rope_fields import read_rope, write_rope
from slick_jax.models.families.windows import shared_window, uniform, window_size
from slick_jax.models.hf_layout import LLAMA_MODULES, Joined, Layout
from slick_jax.models.spec import ModelSpec

_QKV = Joined("self_attn.qkv_proj", ("q", "k", "v"))
_GATE_UP = Joined("mlp.gate_up_proj", ("gate", "up"))


def _more(fields: Fields, values: Values) -> Values:
    # The original context stands outside the rope's object; transformers assumes 4096 where it is not given.
    fields.config.setdefault("original_max_position_embeddings", 4096)
    fields.get("original_max_position_embeddings")
    for name in ("rope_scaling", "rope_parameters"):
        rope = fields.config.get(name)
        if isinstance(rope, dict) and rope.get("rope_type", rope.get("type")) in ("su", "yarn"):
            fields.config[name] = {**rope, "rope_type": "longrope"}  # its first names
    rope, name, rest = read_rope(fields, values["max_position_embeddings"])
    share = rest.get("partial_rotary_factor", fields.get("partial_rotary_factor", 1.0))
    fields.same("partial_rotary_factor", share)
    windows = uniform(values["n_layers"], window_size(fields, None))
    if not is_positive(share) or share > 1:
        fields.problems.append(f"partial_rotary_factor is {short(share)}; it must be above 0 and at most 1")
        return rope
    rotated = int(values["head_dim"] * share)
    scaling = rope["rope_scaling"]
    if scaling is not None and scaling.kind != "longrope":
        fields.problems.append(f"{name} is of kind {scaling.kind!r}; this family knows longrope alone")
    elif scaling is not None and {len(scaling.short_factor), len(scaling.long_factor)} != {rotated // 2}:
        fields.problems.append(f"{name}: short_factor and long_factor must have {rotated // 2} numbers each")
    return rope | {"windows": windows, "rotary_dim": None if share == 1 else rotated}


def _back(spec: ModelSpec) -> dict[str, Any]:
    share = 1.0 if spec.rotary_dim is None else spec.rotary_dim / spec.head_dim
    config = {"original_max_position_embeddings": spec.max_position_embeddings, "sliding_window": shared_window(spec)}
    # Where no id is given, transformers assumes one that a smaller vocabulary does not have.
    return config | write_rope(spec) | {"partial_rotary_factor": share, "pad_token_id": None}


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
