"""That no entity is in two splits: by id, name, prompt and reference text, within its domain or over all."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from slick_jax.data.examples import same_text
from slick_jax.errors import InputError

MAX_PROBLEMS, NAMED = 20, 6  # that an error lists; entities that each of them names


def check_disjoint(entities: pd.DataFrame, across: bool = False) -> dict[str, int]:
    """The number of entities in each split.

    Args:
      entities: columns of `records.ENTITIES`.
      across: whether names, prompts and references are compared over domains, too, as models answer about others.

    Raises one InputError that names entities which stand in two splits, also under another id.
    """
    problems = []
    for field in ("id", "name", "prompt", "reference"):
        keys = entities[field].map(same_text)
        keys = keys if field == "id" or across else entities["domain"] + "\0" + keys
        shared = entities[entities["split"].groupby(keys).transform("nunique") > 1]
        for _, rows in shared.groupby(keys, sort=False):
            told = [f"{row.id} ({row.split})" for row in rows.itertuples()]
            more = f" and {len(told) - NAMED:,} more" * (len(told) > NAMED)
            hint = "; a prompt must name its entity" * (field == "prompt")
            problems.append(f"one {field} in two splits: {', '.join(told[:NAMED])}{more}{hint}")
    if problems:
        more = [f"... and {len(problems) - MAX_PROBLEMS:,} more"] if len(problems) > MAX_PROBLEMS else []
        what = "entities are not apart; give each one split"
        what += ", the same in all domains, or ask no model about others (longform.transfer=())" if across else ""
        raise InputError.of([*problems[:MAX_PROBLEMS], *more], f"{what}:")
    return entities["split"].value_counts().sort_index().to_dict()


def check_within(used: Iterable[str], entities: pd.DataFrame, split: str, what: str) -> None:
    """Raises InputError that names the entities among `used` (ids) which are not of `split`, or not there at all."""
    of = dict(zip(entities["id"], entities["split"], strict=True))
    leaking = [f"{name} ({of.get(name, 'no entity of this study')})" for name in dict.fromkeys(used)
               if of.get(name) != split]  # fmt: skip
    if leaking:
        shown = ", ".join(leaking[:MAX_PROBLEMS])
        raise InputError(f"{what} may hold entities of split {split!r} only, found {len(leaking):,} others: {shown}")
