"""Which rows the model knows least: by relation, or where these cannot be ranked, by clusters of like questions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from slick_jax.categories import CATEGORIES, UNKNOWN
from slick_jax.checkup.shares import Share, share

MOST_CLUSTERS = 12
ROWS_OF_A_CLUSTER = 25  # about, where the number of clusters is not given
MOST_WORDS = 2000  # and pairs of words, that questions are compared by
WORDS = 3  # that name a cluster


def clusters(questions: Sequence[str], count: int, seed: int) -> list[str] | None:
    """A name for every question: the words that its cluster has most of; None where the questions fall into none.

    k-means on TF-IDF of words and pairs of words that several questions have (Salton and Buckley 1988); what occurs
    once, such as names, tells no kinds of questions apart. count: of clusters, 0 for one in about 25 questions.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer

    count = min(count or min(MOST_CLUSTERS, len(questions) // ROWS_OF_A_CLUSTER), len(questions))
    least = max(2, math.ceil(0.01 * len(questions)))
    if count < 2:
        return None
    try:
        reader = TfidfVectorizer(
            ngram_range=(1, 2), min_df=least, max_df=0.8, sublinear_tf=True, max_features=MOST_WORDS
        )
        features = reader.fit_transform(questions)
    except ValueError:  # no word is in several questions
        return None
    with warnings.catch_warnings():  # fewer kinds of questions than clusters leave some clusters empty
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(count, n_init=4, random_state=seed).fit(features)
    names = _names(found.cluster_centers_, reader.get_feature_names_out())
    return [names[label] for label in found.labels_]


def _names(centres: np.ndarray, words: np.ndarray) -> list[str]:
    """The heaviest words of every cluster, a pair before its words; numbered where two would be called the same."""
    names: list[str] = []
    for centre in centres:
        chosen: list[str] = []
        for word in words[np.argsort(-centre, kind="stable")[: 4 * WORDS]]:
            if len(chosen) < WORDS and not any(set(word.split()) <= set(one.split()) for one in chosen):
                chosen = [one for one in chosen if not set(one.split()) <= set(word.split())] + [word]
        name = ", ".join(chosen)
        names.append(name if name not in names else f"{name} ({len(names) + 1})")
    return names


def ranked(rows: pd.DataFrame, least_rows: int) -> pd.DataFrame:
    """Groups of `least_rows` or more, those first whose share of Unknown is surely largest (the interval's low end).

    Args:
      rows: columns group, category, question, p_correct_greedy.

    Returns:
      group, rows, a share in percent per category, low and high of Unknown's 95 % interval, p_correct (mean greedy),
      against: 'more' or 'less' Unknown than all other rows, where the intervals do not meet, else ''; example.
    """
    unknown = rows["category"] == UNKNOWN
    table = []
    for group, of in rows.groupby("group", sort=True):
        if len(of) < least_rows:
            continue
        mine = unknown.loc[of.index]
        here, others = share(mine), share(unknown.drop(of.index))
        table.append({
            "group": group, "rows": len(of),
            **{name: 100 * float((of["category"] == name).mean()) for name in CATEGORIES},
            "low": 100 * here.low, "high": 100 * here.high, "p_correct": float(of["p_correct_greedy"].mean()),
            "against": _against(here, others), "example": of["question"].loc[mine.idxmax()],
        })  # fmt: skip
    columns = ["group", "rows", *CATEGORIES, "low", "high", "p_correct", "against", "example"]
    found = pd.DataFrame(table, columns=columns)
    return found.sort_values(["low", "group"], ascending=[False, True], ignore_index=True)


def _against(here: Share, others: Share) -> str:
    if not others.total:
        return ""
    return "more" if here.low > others.high else "less" if here.high < others.low else ""
