"""Endings that a mixture teaches behind every answer, such as R-Tuning's "I am sure.": judged apart from the answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from slick_jax.knowledge.greedy import Asked
from slick_jax.knowledge.match import squad_key


def accepting(rows: Sequence[Asked], endings: Sequence[str]) -> list[Asked]:
    """The questions with answers that are right as they are and with any of `endings` behind them.

    So every match rule judges the answer alone: which of the endings follows, if any, makes it neither right nor wrong.
    """
    behind = ("", *endings)
    return [
        dataclasses.replace(row, answers=tuple(answer + ending for answer in row.answers for ending in behind))
        for row in rows
    ]


def split_ending(text: str, endings: Sequence[str]) -> tuple[str, str]:
    """What is written before its ending, and the one of `endings` that it ends with, without blanks; '' for none.

    Endings are compared as SQuAD does, in whole words; of several that fit, the longest counts. One that is written in
    other letters stays part of the text.
    """
    words = squad_key(text).split()
    keys = {ending: squad_key(ending).split() for ending in endings}
    fits = [ending for ending, key in keys.items() if key and words[-len(key) :] == key]
    ending = max(fits, key=lambda ending: len(keys[ending]), default="").strip()
    return text.rstrip().removesuffix(ending).rstrip() if ending else text, ending
