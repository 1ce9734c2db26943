"""Rotary positions in a config.json: one object `rope_parameters` in newer files, several fields in older ones."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from slick_jax.errors import short
from slick_jax.models.families.fields import Fields, is_positive
from slick_jax.models.spec import ModelSpec, RopeScaling

_ORIGINAL = "original_max_position_embeddings"
# Kind of scaling -> fields it must have, and fields it may have.
_KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "dynamic": (("factor",), ()),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor"), (_ORIGINAL,)),
    "yarn": (
        ("factor",), ("beta_fast", "beta_slow", "truncate", "attention_factor", "mscale", "mscale_all_dim", _ORIGINAL)
    ),
    "longrope": (("short_factor", "long_factor"), ("factor", "attention_factor", _ORIGINAL)),
}  # fmt: skip


def read_rope(
    fields: Fields,
    positions: Any,
    *,
    theta: float = 10000.0,
    theta_name: str = "rope_theta",
    nested: str | None = None,
    original: int | None = None,
    synonyms: Mapping[str, str] = MappingProxyType({}),
) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """What a config.json says of its rotary positions, as fields of ModelSpec; then the name and rest of that object.

    `positions` is max_position_embeddings; `theta` the base where the file is silent; `nested` names the entry of
    `rope_parameters` that counts, in files that keep one per kind of layer; `original` is the original context where
    the file is silent; `synonyms` are other names of kinds. The rest, with 'partial_rotary_factor' in it where given,
    is for the family to understand.
    """
    original = fields.get(_ORIGINAL, original)
    name, given = _object(fields)
    whole = given
    if nested is not None and isinstance(given.get(nested), Mapping):
        name, given = f"{name}.{nested}", dict(given[nested])
    base = given.pop("rope_theta", fields.get(theta_name, theta))
    kind = given.pop("rope_type", given.get("type", "default"))
    given.pop("type", None)
    kind = synonyms.get(kind, kind) if isinstance(kind, str) else kind
    rest = {"partial_rotary_factor": given.pop("partial_rotary_factor")} if "partial_rotary_factor" in given else {}
    scaling = _scaling(fields, name, kind, given, positions, original)
    values: dict[str, Any] = {"rope_theta": base, "rope_scaling": scaling}
    if scaling is not None and scaling.kind == "longrope" and is_positive(positions):
        values["max_position_embeddings"] = min(positions, scaling.original_max_position_embeddings)
    return values, name, rest if whole is given or nested is None else whole | rest


def read_share(fields: Fields, name: str, share: Any, head_dim: Any) -> int | None:
    """How many leading entries of a head are rotated, by the `share` that the field `name` gives; None for all."""
    if not is_positive(share) or share > 1:
        fields.problems.append(f"{name} is {short(share)}; it must be above 0 and at most 1")
        return None
    if share == 1 or not is_positive(head_dim):
        return None
    rotated = int(head_dim * share)  # rounded as transformers does
    if not rotated:
        fields.problems.append(f"{name} is {short(share)}, which leaves nothing of {head_dim} entries to rotate")
    return rotated


def write_share(spec: ModelSpec) -> float:
    """The share of a head that is rotated, which `read_share` turns into the same number of entries again."""
    share = 1.0 if spec.rotary_dim is None else spec.rotary_dim / spec.head_dim
    exact = spec.rotary_dim is None or int(spec.head_dim * share) == spec.rotary_dim
    return share if exact else math.nextafter(share, 1.0)


def write_rope(spec: ModelSpec) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling`, which transformers reads in old and new versions alike."""
    config: dict[str, Any] = {"rope_theta": spec.rope_theta}
    scaling = spec.rope_scaling
    if scaling is None:
        return config
    must, may = _KINDS[scaling.kind]
    kept = {name: getattr(scaling, name) for name in (*must, *may) if hasattr(scaling, name)}
    if scaling.kind == "longrope":
        config |= {"max_position_embeddings": scaling.extended_positions, _ORIGINAL: kept[_ORIGINAL]}
        kept = {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}
        del kept["factor"]  # attention_factor says what follows from it
    return config | {"rope_scaling": {"rope_type": scaling.kind, **kept}}


def _object(fields: Fields) -> tuple[str, dict[str, Any]]:
    found = {name: fields.get(name) for name in ("rope_parameters", "rope_scaling")}
    found = {name: value for name, value in found.items() if value}
    for name, value in found.items():
        if not isinstance(value, Mapping):
            fields.problems.append(f"{name} is {short(value)}; it must be an object")
            return name, {}
    if len(found) == 2:
        fields.problems.append("rope_parameters and rope_scaling are both given; keep the one that is meant")
    return next(((name, dict(value)) for name, value in found.items()), ("rope_scaling", {}))


def _scaling(
    fields: Fields, name: str, kind: Any, given: dict[str, Any], positions: Any, original: Any
) -> RopeScaling | None:
    if not isinstance(kind, str) or kind not in _KINDS:
        fields.problems.append(f"{name} is of kind {kind!r}; known are {', '.join(_KINDS)}")
        return None
    must, may = _KINDS[kind]
    problems = [f"{name}.{key} is missing" for key in must if given.get(key) is None]
    problems += [f"{name}.{key} is not known for kind {kind!r}" for key in given if key not in (*must, *may)]
    given = {key: value for key, value in given.items() if value is not None and key in (*must, *may)}
    for key, value in given.items():
        if key in ("short_factor", "long_factor"):
            if not isinstance(value, list) or not value or not all(map(is_positive, value)):
                problems.append(f"{name}.{key} is {short(value)}; it must be a list of numbers above 0")
        elif key == "truncate":
            if not isinstance(value, bool):
                problems.append(f"{name}.truncate is {short(value)}; it must be true or false")
        elif not is_positive(value):
            problems.append(f"{name}.{key} is {short(value)}; it must be a number above 0")
    fields.problems += problems
    if kind == "default" or problems:
        return None
    if _ORIGINAL in may:
        # Beside the object (Phi-3) it has the last word.
        given[_ORIGINAL] = given.get(_ORIGINAL, positions) if original is None else original
        if not is_positive(given[_ORIGINAL]):
            fields.problems.append(f"{_ORIGINAL} is {short(given[_ORIGINAL])}; it must be a number above 0")
            return None
    return _resolved(kind, given, positions if is_positive(positions) else 1)


def _resolved(kind: str, given: dict[str, Any], positions: Any) -> RopeScaling:
    """The scaling with its attention factor worked out, by the rules of transformers."""
    if kind == "yarn":
        factor, scale, all_dim = given["factor"], given.pop("mscale", None), given.pop("mscale_all_dim", None)
        worked_out = _mscale(factor, scale) / _mscale(factor, all_dim) if scale and all_dim else _mscale(factor, 1.0)
        given.setdefault("attention_factor", worked_out)
    elif kind == "longrope":
        original = given[_ORIGINAL]
        factor = given.pop("factor", positions / original)
        worked_out = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
        given.setdefault("attention_factor", worked_out)
        given |= {name: tuple(given[name]) for name in ("short_factor", "long_factor")}
        given["extended_positions"] = positions
    return RopeScaling(kind, **given)


def _mscale(factor: float, scale: float) -> float:
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0
