"""Which finished runs may be pooled: those that were trained and asked alike, by the settings in train.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Name = tuple[str, int]  # variant, seed
Flat = dict[str, Any]  # settings by dotted name

OWN = {"train.seed"}  # every run has its own
OF_VARIANT = {"mixture_sha256"}  # equal for the seeds of a variant
UNRECORDED = "settings that were not recorded (no train.json)"


def set_apart(settings: Mapping[Name, Mapping[str, Any]], rank: Callable[[list[Name]], Any]) -> dict[Name, str]:
    """The runs to leave out so that the others differ in variant and seed alone, each with what it differs in.

    Args:
      settings: the content of train.json per run, empty where there is none.
      rank: of several groups of runs with equal settings, the one of the highest rank stays; of several mixtures of
        one variant likewise.
    """
    flat = {name: _flatten(found) for name, found in settings.items()}
    shared = {name: {key: found[key] for key in found.keys() - OWN - OF_VARIANT} for name, found in flat.items()}
    apart = _apart(shared, rank)
    for variant in {variant for variant, _ in settings}:
        here = [name for name in settings if name[0] == variant and name not in apart]
        apart |= _apart({name: {key: flat[name].get(key) for key in OF_VARIANT} for name in here}, rank)
    return apart


def _apart(settings: dict[Name, Flat], rank: Callable[[list[Name]], Any]) -> dict[Name, str]:
    groups: dict[str, list[Name]] = {}
    for name, found in settings.items():
        groups.setdefault(json.dumps(found, sort_keys=True), []).append(name)
    kept = max(groups.values(), key=rank, default=[])
    return {name: _difference(found, settings[kept[0]]) for name, found in settings.items() if name not in kept}


def _difference(here: Flat, there: Flat) -> str:
    """'train.peak_lr 0.001 in place of 0.0001, ...'."""
    if not here:
        return UNRECORDED
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    if not there:
        return "recorded settings, where the others have none (no train.json)"
    return ", ".join(f"{name} {_short(here.get(name))} in place of {_short(there.get(name))}" for name in names)


def _short(value: Any) -> str:
    """The value as text, a hash or the like cut to its beginning."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Flat:
    flat: Flat = {}
    for name, value in settings.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
