"""Sliding windows in a config.json: a size, and which layers have it."""

from collections.abc import Sequence
from typing import Any

from slick_jax.errors import short
from slick_jax.models.families.fields import Fields
from slick_jax.models.spec import ModelSpec

SLIDING, FULL = "sliding_attention", "full_attention"


def window_size(fields: Fields, default: int | None) -> int | None:
    """`sliding_window`, an integer of at least 1; None where there is none."""
    value = None if "sliding_window" in fields.nulls else default
    value = fields.get("sliding_window", value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        fields.problems.append(f"sliding_window is {short(value)}; it must be an integer of at least 1")
        return None
    return value


def read_windows(
    fields: Fields, n_layers: Any, window: int | None, sliding: Sequence[bool]
) -> tuple[int | None, ...] | None:
    """The window of every layer, by `layer_types` or, where the file is silent, where `sliding` is true."""
    types = fields.get("layer_types", [SLIDING if slides else FULL for slides in sliding])
    known = isinstance(types, list) and all(kind in (SLIDING, FULL) for kind in types)
    if not known or len(types) != n_layers:
        fields.problems.append(
            f"layer_types is {short(types)}; it must have {SLIDING!r} or {FULL!r} for each of the {n_layers} layers"
        )
        return None
    if SLIDING in types and window is None:
        fields.problems.append(f"layer_types has {SLIDING!r}, but no sliding window is in use")
        return None
    windows = tuple(window if kind == SLIDING else None for kind in types)
    return windows if any(windows) else None


def uniform(n_layers: Any, window: int | None) -> tuple[int | None, ...] | None:
    """The same window in every layer."""
    return None if window is None or not isinstance(n_layers, int) else (window,) * n_layers


def layer_types(spec: ModelSpec) -> list[str]:
    """`layer_types` as transformers writes it."""
    return [SLIDING if window else FULL for window in spec.windows or (None,) * spec.n_layers]


def shared_window(spec: ModelSpec) -> int | None:
    """The one window size of a model's sliding layers."""
    return next((window for window in spec.windows or () if window), None)
