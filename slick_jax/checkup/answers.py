"""What the greedy answers look like: near a gold answer without matching it, cut, long, or the same for every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from slick_jax.knowledge.match import normalise

CLOSE = 0.6  # token F1 from which on two answers are close: two of three words, but not one name of two
NEAR_SHARE = 0.5  # of a row's greedy answers that must be near a gold one
KINDS = {
    "holds": "the answer holds a gold answer and more",
    "part": "the answer is a part of a gold answer",
    "close": "the answer shares most of its words with a gold answer",
}


def f1(first: Sequence[str], second: Sequence[str]) -> float:
    """Token F1 of two answers as lists of words (Rajpurkar et al., 2016)."""
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second)) if common else 0.0


def nearness(answer: str, golds: Sequence[str]) -> str:
    """How an answer that matches no gold is near one: a key of `KINDS`, or '' where it is not."""
    words = normalise(answer).split()
    found = {_kind(words, normalise(gold).split()) for gold in golds}
    return next((kind for kind in KINDS if kind in found), "")


def _kind(words: list[str], gold: list[str]) -> str:
    if not words or not gold:
        return ""
    if _inside(gold, words):
        return "holds"
    if _inside(words, gold):
        return "part"
    return "close" if f1(words, gold) >= CLOSE else ""


def _inside(short: list[str], long: list[str]) -> bool:
    """Whether the words of `short` stand side by side in `long`, which has more."""
    return len(short) < len(long) and any(
        long[start : start + len(short)] == short for start in range(len(long) - len(short) + 1)
    )


def near_misses(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that no greedy answer hits, and of which at least half the greedy answers are near a gold one.

    Args:
      rows: columns id, question, answers, category, greedy_hits, greedy.

    Returns:
      id, question, gold, answer (the most frequent near one), kind, share (of the greedy answers that are near).
    """
    found = []
    for row in rows.itertuples():
        if any(row.greedy_hits):
            continue
        near = [(text, kind) for text in row.greedy if (kind := nearness(text, row.answers))]
        if near and len(near) >= NEAR_SHARE * len(row.greedy):
            (text, kind), _ = Counter(near).most_common(1)[0]
            found.append((row.id, row.question, row.answers[0], text, kind, len(near) / len(row.greedy)))
    return pd.DataFrame(found, columns=["id", "question", "gold", "answer", "kind", "share"])


def guessable(rows: pd.DataFrame, least_rows: int, from_share: float) -> pd.DataFrame:
    """Groups of which one answer is that of a large share of the rows, so that it is right without knowledge.

    Args:
      rows: columns group, answers, greedy; a group needs `least_rows`, and the answer the share `from_share`.

    Returns:
      group, rows, answer, share (of the rows), given (share of all greedy answers that are this one).
    """
    found = []
    for group, of in rows.groupby("group", sort=True):
        golds = [normalise(golds[0]) or golds[0] for golds in of["answers"]]
        answer, count = min(Counter(golds).items(), key=lambda one: (-one[1], one[0]))
        if len(of) >= least_rows and count > 1 and count >= from_share * len(of):
            given = [normalise(text) == answer for texts in of["greedy"] for text in texts]
            found.append((group, len(of), answer, count / len(of), sum(given) / len(given)))
    return pd.DataFrame(found, columns=["group", "rows", "answer", "share", "given"])


def repeated(
    questions: Mapping[str, str], golds: Mapping[str, Sequence[str]]
) -> tuple[list[list[str]], list[list[str]]]:
    """Ids of rows that ask the same question, and those of them whose answers have nothing in common.

    Args:
      questions: id to question with its case and spacing made one; golds: id to its answers.
    """
    by_question: dict[str, list[str]] = {}
    for name, question in questions.items():
        by_question.setdefault(question, []).append(name)
    same = [names for names in by_question.values() if len(names) > 1]
    keys = {name: {normalise(one) or one for one in golds[name]} for names in same for name in names}
    return same, [names for names in same if not set.intersection(*(keys[name] for name in names))]


def words_of(texts: Sequence[str]) -> list[int]:
    """Words of every text."""
    return [len(text.split()) for text in texts]
