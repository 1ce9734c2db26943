"""One small file per family or kin group: how its config.json is read and written, and what its tensors are called.

Every module here that has FAMILIES joins by itself; docs/families.md shows how to add one.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from slick_jax.errors import InputError
from slick_jax.models.families.family import Family
from slick_jax.models.hf_layout import Layout
from slick_jax.models.spec import ModelSpec

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for module in pkgutil.iter_modules(__path__)
    for family in getattr(importlib.import_module(f"{__name__}.{module.name}"), "FAMILIES", ())
}


def read(config: Mapping[str, Any], where: str) -> ModelSpec:
    """The architecture of a parsed config.json; `where` names it in errors. Raises InputError, see `spec_from_hf`."""
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(f"{where}: model_type is {name!r}; known are {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name].read(config, where)


def write(spec: ModelSpec) -> dict[str, Any]:
    """The config.json of `spec`, as transformers reads it."""
    return FAMILIES[spec.family].write(spec)


def layout_of(spec: ModelSpec) -> Layout:
    """Where the weights of `spec` are in its family's checkpoints."""
    return FAMILIES[spec.family].layout
