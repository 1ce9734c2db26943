"""GPT-2: learned positions, layer norms, a plain MLP, biases everywhere, kernels kept [inputs, outputs]."""

from typing import Any

from slick_jax.models.families.family import Family, Values
from slick_jax.models.families.fields import Fields
from slick_jax.models.hf_layout import Joined, Layout
from slick_jax.models.spec import ModelSpec

_QKV = Joined("attn.c_attn", ("q", "k", "v"))


def _more(fields: Fields, values: Values) -> Values:
    inner = fields.get("n_inner")
    if inner is None and isinstance(values["d_model"], int):
        inner = 4 * values["d_model"]
    return {"d_mlp": inner, "n_kv_heads": values["n_heads"]}


def _back(spec: ModelSpec) -> dict[str, Any]:
    return {"n_inner": spec.d_mlp}


FAMILIES = (
    Family(
        "gpt2",
        "GPT2LMHeadModel",
        fields={
            "vocab_size": "vocab_size",
            "n_embd": "d_model",
            "n_layer": "n_layers",
            "n_head": "n_heads",
            "n_positions": "max_position_embeddings",
            "layer_norm_epsilon": "norm_eps",
            "activation_function": "activation",
            "tie_word_embeddings": "tie_embeddings",
        },
        defaults={
            "max_position_embeddings": 1024, "norm_eps": 1e-5, "activation": "gelu_new", "tie_embeddings": True,
        },  # fmt: skip
        fixed={
            "positions": "learned", "norm": "layer", "gated_mlp": False, "attention_bias": True, "mlp_bias": True,
        },  # fmt: skip
        rope_theta=None,
        more=_more,
        back=_back,
        harmless=(
            "n_ctx", "reorder_and_upcast_attn", "summary_type", "summary_use_proj", "summary_activation",
            "summary_proj_to_labels", "summary_first_dropout", "n_special", "predict_special_tokens",
        ),  # fmt: skip
        neutral={"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False},
        layout=Layout(
            base="transformer.",
            embedding="wte",
            positions="wpe",
            final_norm="ln_f",
            layer="h.{layer}.",
            transposed=True,
            modules={
                "attention_norm": "ln_1",
                **dict.fromkeys(("q", "k", "v"), _QKV),
                "o": "attn.c_proj",
                "mlp_norm": "ln_2",
                "up": "mlp.c_fc",
                "down": "mlp.c_proj",
            },
        ),
    ),
)
