"""Gemma, Gemma 2 and the text model of Gemma 3."""

import math
from collections.abc import Mapping
from typing import Any

from slick_jax.errors import short
from slick_jax.models.families.family import SIZES, Family, Values
from slick_jax.models.families.fields import Fields, is_positive
from slick_jax.models.families.rope_fields import read_rope, write_rope
from slick_jax.models.families.windows import layer_types, read_windows, shared_window, window_size
from slick_jax.models.hf_layout import LLAMA_MODULES, Layout
from slick_jax.models.spec import ModelSpec

_FIELDS = {**SIZES, "attention_bias": "attention_bias"}
_FIELDS_2 = {name: ours for name, ours in _FIELDS.items() if name != "hidden_act"} | {"hidden_activation": "activation"}
_DEFAULTS = {"head_dim": 256, "tie_embeddings": True, "activation": "gelu_pytorch_tanh"}
_FIXED = {"norm": "rms_plus_one"}
_NEUTRAL = {"use_bidirectional_attention": False}
_SANDWICH = Layout(
    modules={
        **LLAMA_MODULES,
        "attention_out_norm": "post_attention_layernorm",
        "mlp_norm": "pre_feedforward_layernorm",
        "mlp_out_norm": "post_feedforward_layernorm",
    }
)


def _scale(values: Values) -> Values:
    return {"embedding_scale": math.sqrt(values["d_model"])} if is_positive(values["d_model"]) else {}


def _gemma(fields: Fields, values: Values) -> Values:
    # The first files say 'gelu' and mean the tanh approximation, as transformers takes it.
    activation = "gelu_pytorch_tanh" if values["activation"] == "gelu" else values["activation"]
    fields.same("hidden_activation", activation)
    return {"activation": activation, **_scale(values)}


def _scores(fields: Fields, values: Values) -> Values:
    return {"attention_scale": fields.number("query_pre_attn_scalar", 256) ** -0.5}


def _gemma2(fields: Fields, values: Values) -> Values:
    n_layers = values["n_layers"] if isinstance(values["n_layers"], int) else 0
    fields.same("hidden_act", values["activation"])
    return {
        **_scale(values),
        **_scores(fields, values),
        "attention_softcap": _cap(fields, "attn_logit_softcapping", 50.0),
        "logit_softcap": _cap(fields, "final_logit_softcapping", 30.0),
        "windows": read_windows(
            fields, n_layers, window_size(fields, 4096), [layer % 2 == 0 for layer in range(n_layers)]
        ),
    }


def _cap(fields: Fields, name: str, default: float) -> float | None:
    return fields.number(name, None if name in fields.nulls else default)


def _gemma3(fields: Fields, values: Values) -> Values:
    n_layers = values["n_layers"] if isinstance(values["n_layers"], int) else 0
    fields.same("hidden_act", values["activation"])
    every = fields.get("sliding_window_pattern", fields.get("_sliding_window_pattern", 6))
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        fields.problems.append(f"sliding_window_pattern is {short(every)}; it must be an integer of at least 1")
        every = 6
    windows = read_windows(
        fields, n_layers, window_size(fields, 4096), [(layer + 1) % every != 0 for layer in range(n_layers)]
    )
    rope, name, rest = read_rope(
        fields, values["max_position_embeddings"], theta=1_000_000.0, nested="full_attention"
    )
    local = rest.pop("sliding_attention", None) or {}
    if not isinstance(local, Mapping):
        fields.problems.append(f"{name}.sliding_attention is {short(local)}; it must be an object")
    local = dict(local) if isinstance(local, Mapping) else {}
    rest.pop("full_attention", None)
    local_theta = local.pop("rope_theta", fields.number("rope_local_base_freq", 10000.0))
    if local.pop("rope_type", "default") != "default" or local:
        fields.problems.append(f"rope_parameters.sliding_attention has {short(local)}; known there is rope_theta alone")
    fields.problems += [f"{name}.{key} is {short(value)}; it is not known here" for key, value in rest.items()]
    if windows is not None:
        rope |= {
            "local_rope_theta": local_theta,
            "ropes": tuple("local" if window else "global" for window in windows),
        }
    return {
        **rope,
        **_scale(values),
        **_scores(fields, values),
        "logit_softcap": fields.number("final_logit_softcapping", None),
        "windows": windows,
    }


def _write_2(spec: ModelSpec) -> dict[str, Any]:
    scale = spec.head_dim**-0.5 if spec.attention_scale is None else spec.attention_scale
    whole = round(scale**-2)
    return {
        "query_pre_attn_scalar": whole if math.isclose(whole**-0.5, scale) else scale**-2,
        "attn_logit_softcapping": spec.attention_softcap,
        "final_logit_softcapping": spec.logit_softcap,
        "sliding_window": shared_window(spec),
        "layer_types": layer_types(spec),
    }


def _write_3(spec: ModelSpec) -> dict[str, Any]:
    config = write_rope(spec) | _write_2(spec)
    return config | ({} if spec.local_rope_theta is None else {"rope_local_base_freq": spec.local_rope_theta})


FAMILIES = (
    Family(
        "gemma",
        "GemmaForCausalLM",
        fields=_FIELDS,
        defaults={**_DEFAULTS, "n_kv_heads": 16, "max_position_embeddings": 8192},
        fixed=_FIXED,
        more=_gemma,
        neutral=_NEUTRAL,
    ),
    Family(
        "gemma2",
        "Gemma2ForCausalLM",
        fields=_FIELDS_2,
        defaults={**_DEFAULTS, "n_kv_heads": 4, "max_position_embeddings": 8192},
        fixed={**_FIXED, "norm_placement": "sandwich"},
        more=_gemma2,
        back=_write_2,
        neutral=_NEUTRAL,
        layout=_SANDWICH,
    ),
    Family(
        "gemma3_text",
        "Gemma3ForCausalLM",
        fields=_FIELDS_2,
        defaults={**_DEFAULTS, "n_kv_heads": 4, "max_position_embeddings": 131072},
        fixed={**_FIXED, "norm_placement": "sandwich", "qk_norm": "head"},
        rope_theta=None,
        more=_gemma3,
        back=_write_3,
        neutral=_NEUTRAL,
        layout=_SANDWICH,
    ),
)
