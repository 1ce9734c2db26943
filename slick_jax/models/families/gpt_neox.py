"""GPT-NeoX and Pythia: partial rotary positions, parallel residual, q, k and v in turns within one tensor."""

from typing import Any

from slick_jax.models.families.family import SIZES, Family, Values
from slick_jax.models.families.fields import Fields
from slick_jax.models.families.rope_fields import read_rope, read_share, write_rope, write_share
from slick_jax.models.hf_layout import Layout, PerHead
from slick_jax.models.spec import ModelSpec

_QKV = PerHead("attention.query_key_value", ("q", "k", "v"))
_RENAMED = {"rms_norm_eps": "layer_norm_eps"}
_DROPPED = ("num_key_value_heads", "head_dim")


def _more(fields: Fields, values: Values) -> Values:
    rope, name, rest = read_rope(fields, values["max_position_embeddings"], theta_name="rotary_emb_base")
    fields.same("rope_theta", rope["rope_theta"])  # written beside rotary_emb_base by some versions
    share = rest.get("partial_rotary_factor", fields.get("rotary_pct", 0.25))
    fields.same("partial_rotary_factor", share)
    return rope | {"rotary_dim": read_share(fields, "rotary_pct", share, values["head_dim"])}


def _back(spec: ModelSpec) -> dict[str, Any]:
    rope = write_rope(spec)
    return {**rope, "rotary_emb_base": rope["rope_theta"], "rotary_pct": write_share(spec)}


FAMILIES = (
    Family(
        "gpt_neox",
        "GPTNeoXForCausalLM",
        fields={
            **{_RENAMED.get(name, name): ours for name, ours in SIZES.items() if name not in _DROPPED},
            "attention_bias": "attention_bias",
            "use_parallel_residual": "parallel_residual",
        },
        defaults={"norm_eps": 1e-5, "activation": "gelu", "attention_bias": True, "parallel_residual": True},
        fixed={"norm": "layer", "gated_mlp": False, "mlp_bias": True},
        rope_theta=None,
        more=_more,
        back=_back,
        layout=Layout(
            base="gpt_neox.",
            embedding="embed_in",
            final_norm="final_layer_norm",
            head="embed_out",
            modules={
                "attention_norm": "input_layernorm",
                **dict.fromkeys(("q", "k", "v"), _QKV),
                "o": "attention.dense",
                "mlp_norm": "post_attention_layernorm",
                "up": "mlp.dense_h_to_4h",
                "down": "mlp.dense_4h_to_h",
            },
        ),
    ),
)
