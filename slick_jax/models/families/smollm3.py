"""SmolLM3: Llama whose every fourth layer has no rotary positions."""

from typing import Any

from slick_jax.errors import short
from slick_jax.models.families.family import SIZES, Family, Values
from slick_jax.models.families.fields import Fields
from slick_jax.models.families.windows import layer_types, read_windows, shared_window, window_size
from slick_jax.models.spec import ModelSpec


def _more(fields: Fields, values: Values) -> Values:
    n_layers = values["n_layers"] if isinstance(values["n_layers"], int) else 0
    every = fields.get("no_rope_layer_interval", 4)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        fields.problems.append(f"no_rope_layer_interval is {short(every)}; it must be an integer of at least 1")
        every = 4
    turned = fields.get("no_rope_layers", [int((layer + 1) % every != 0) for layer in range(n_layers)])
    if not isinstance(turned, list) or len(turned) < n_layers or not all(turn in (0, 1) for turn in turned):
        fields.problems.append(f"no_rope_layers is {short(turned)}; it must have 0 (none) or 1 for every layer")
        return {}
    turned = turned[:n_layers]
    size = window_size(fields, None)
    window = size if fields.flag("use_sliding_window", False) is True else None
    sliding = [window is not None and not rope for rope in turned]
    ropes = tuple("global" if rope else "none" for rope in turned)
    return {
        "ropes": ropes if "none" in ropes else None,
        "windows": read_windows(fields, n_layers, window, sliding),
    }


def _back(spec: ModelSpec) -> dict[str, Any]:
    return {
        "no_rope_layers": [int(rope == "global") for rope in spec.ropes or ("global",) * spec.n_layers],
        "use_sliding_window": spec.windows is not None,
        "sliding_window": shared_window(spec),
        "layer_types": layer_types(spec),
        # Where none is given, transformers assumes one that a smaller vocabulary does not have.
        "pad_token_id": None,
    }


FAMILIES = (
    Family(
        "smollm3",
        "SmolLM3ForCausalLM",
        fields={**SIZES, "attention_bias": "attention_bias", "mlp_bias": "mlp_bias"},
        defaults={"n_kv_heads": 4, "max_position_embeddings": 32768, "tie_embeddings": True},
        rope_theta=2_000_000.0,
        more=_more,
        back=_back,
        harmless=("max_window_layers",),
    ),
)
