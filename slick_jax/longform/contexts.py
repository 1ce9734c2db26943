"""The words that a model is given of a claim: a form of its entity, and equal texts only once."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

import numpy as np

from slick_jax.errors import InputError
from slick_jax.longform.records import Claim, Entity
from slick_jax.settings.longform import LongformConfig

CONTEXT = LongformConfig.context  # before the claim
FIELDS = {"prompt", "name", "claim"}


def fill(form: str, claim: Claim, entities: Mapping[str, Entity]) -> str:
    """`form` with the {prompt} and {name} of the claim's entity and the {claim} itself. Other braces are the form's."""
    entity = entities[claim.entity]
    return form.format(prompt=entity.prompt, name=entity.name, claim=claim.claim.strip())


def check_form(form: str, setting: str, claim: bool) -> None:
    """Raises InputError, naming `setting`, for a form with unknown fields, or where it must (not) hold the claim."""
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(form) if name is not None}
    except ValueError as error:
        raise InputError(f"{setting}={form!r}: {error}; write braces that are no field twice") from None
    unknown = fields - FIELDS
    if unknown or ("claim" in fields) is not claim:
        what = "must hold {claim}" if claim else "stands before the claim, and must not hold {claim}"
        wrong = f"unknown fields {sorted(unknown)}" if unknown else what
        raise InputError(f"{setting}={form!r}: {wrong}; fields are the entity's {{prompt}} and {{name}}, and {{claim}}")


def distinct(texts: Sequence) -> tuple[list, np.ndarray]:
    """The distinct texts in order, and which of them each text is [n]: claims that are told again are read once."""
    places: dict = {}
    which = [places.setdefault(text, len(places)) for text in texts]
    return list(places), np.array(which, np.int64)
