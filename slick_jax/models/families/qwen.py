"""Qwen2 (biases on q, k, v), Qwen3 (norms on q, k), and Qwen3's mixture of experts."""

from typing import Any

from slick_jax.errors import short
from slick_jax.models.families.family import SIZES, Family, Values
from slick_jax.models.families.fields import Fields
from slick_jax.models.families.windows import layer_types, read_windows, shared_window, uniform, window_size
from slick_jax.models.hf_layout import LLAMA_MODULES, Layout
from slick_jax.models.spec import ModelSpec, MoE


def _window(fields: Fields) -> int | None:
    """The window in use: the size alone switches nothing on."""
    size = window_size(fields, 4096)
    return size if fields.flag("use_sliding_window", False) is True else None


def _upper_layers(fields: Fields, values: Values) -> Values:
    n_layers, first = values["n_layers"], fields.get("max_window_layers", 28)
    window = _window(fields)
    if not isinstance(n_layers, int) or not isinstance(first, int):
        fields.problems.append(f"max_window_layers is {short(first)}; it must be an integer")
        return {}
    sliding = [window is not None and layer >= first for layer in range(n_layers)]
    return {"windows": read_windows(fields, n_layers, window, sliding)}


def _write_windows(spec: ModelSpec) -> dict[str, Any]:
    types = layer_types(spec)
    first = next((layer for layer, window in enumerate(spec.windows or ()) if window), spec.n_layers)
    return {
        "use_sliding_window": spec.windows is not None,
        "sliding_window": shared_window(spec),
        "max_window_layers": first,
        "layer_types": types,
    }


def _experts(fields: Fields, values: Values) -> Values:
    # Newer files call it num_local_experts.
    count = fields.get("num_experts", fields.get("num_local_experts", 128))
    fields.same("num_local_experts", count)
    sizes = {
        "n_experts": count,
        "top_k": fields.get("num_experts_per_tok", 8),
        "d_mlp": fields.get("moe_intermediate_size", 768),
    }
    bad = {name: value for name, value in sizes.items() if isinstance(value, bool) or not isinstance(value, int)}
    if bad or min(sizes.values()) < 1:
        fields.problems.append(
            f"num_experts {short(count)}, num_experts_per_tok {short(sizes['top_k'])} and moe_intermediate_size"
            f" {short(sizes['d_mlp'])} must be integers of at least 1"
        )
        return {}
    return {
        "moe": MoE(**sizes, normalise=fields.flag("norm_topk_prob", False)),
        "windows": uniform(values["n_layers"], _window(fields)),
    }


def _write_experts(spec: ModelSpec) -> dict[str, Any]:
    return {
        "num_experts": spec.moe.n_experts,
        "num_experts_per_tok": spec.moe.top_k,
        "moe_intermediate_size": spec.moe.d_mlp,
        "norm_topk_prob": spec.moe.normalise,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "use_sliding_window": spec.windows is not None,
        "sliding_window": shared_window(spec),
    }


_BIASED = {**SIZES, "attention_bias": "attention_bias"}
_EXPERT = "mlp.experts.{expert}."

FAMILIES = (
    Family(
        "qwen2",
        "Qwen2ForCausalLM",
        defaults={"n_kv_heads": 32, "max_position_embeddings": 32768},
        fixed={"qkv_bias": True},
        more=_upper_layers,
        back=_write_windows,
    ),
    Family(
        "qwen3",
        "Qwen3ForCausalLM",
        fields=_BIASED,
        defaults={"n_kv_heads": 32, "head_dim": 128, "max_position_embeddings": 32768},
        fixed={"qk_norm": "head"},
        more=_upper_layers,
        back=_write_windows,
    ),
    Family(
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        fields=_BIASED,
        defaults={"n_kv_heads": 4, "max_position_embeddings": 32768},
        fixed={"qk_norm": "head"},
        more=_experts,
        back=_write_experts,
        harmless=("router_aux_loss_coef", "output_router_logits", "max_window_layers"),
        # Every layer has experts, as in all published models.
        neutral={"decoder_sparse_step": 1, "mlp_only_layers": []},
        layout=Layout(
            modules={
                **LLAMA_MODULES,
                "router": "mlp.gate",
                **{name: f"{_EXPERT}{name}_proj" for name in ("gate", "up", "down")},
            }
        ),
    ),
)
