"""Monofact rates of a data set: how much of it is told only once (Kalai & Vempala, 2311.14648).

Of n observations, the rate is the number of things that are observed exactly once, divided by n: the Good-Turing
estimate of how likely the next observation is a new one. By that paper's bound a calibrated model that is trained on
them makes up about as large a share of what it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

import pandas as pd

from slick_jax.data.examples import Example, same_text

WHOLE = "all relations"


def monofact_rate(observed: Iterable[Hashable]) -> float:
    """Things observed exactly once over the number of observations; NaN without any."""
    counts = Counter(observed)
    n = counts.total()
    return sum(count == 1 for count in counts.values()) / n if n else float("nan")


def monofacts(examples: Iterable[Example]) -> pd.DataFrame:
    """By relation (index; the last line is of all): rows, and the monofact rates of facts and of answers (shares).

    A row is one observation. Two rows tell the same fact where relation, question and first answer are the same; they
    have the same answer where relation and first answer are. Case and spacing make no difference. An answer that is
    right for one row only cannot be learned from another.
    """
    facts = [(row.relation, same_text(row.question), same_text(row.answers[0])) for row in examples]
    lines: dict[str, list[tuple[str, str, str]]] = {}
    for fact in facts:
        lines.setdefault(fact[0], []).append(fact)
    lines[WHOLE] = facts
    table = {
        name: (len(of), monofact_rate(of), monofact_rate((relation, answer) for relation, _, answer in of))
        for name, of in lines.items()
    }
    columns = ["rows", "facts once", "answers once"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns).rename_axis("relation")
