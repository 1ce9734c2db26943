"""Tables of the data: how many examples of each category every relation has (paper tables 3 to 5), and how surely."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from slick_jax.categories import CATEGORIES, CERTAINTY, UNKNOWN

SPLITS = {"train": "T3", "test": "T4", "ood_test": "T5"}
TOTAL = "TOTAL"


def categories_by_relation(annotations: pd.DataFrame, split: str) -> pd.DataFrame:
    """A row per relation and a last row TOTAL; columns: the four categories and Total, in examples."""
    here = annotations[annotations["split"] == split]
    counts = pd.crosstab(here["relation"], here["category"]).reindex(columns=list(CATEGORIES), fill_value=0)
    total = counts.sum().rename(TOTAL).to_frame().T
    counts = pd.concat([counts.sort_index(), total])  # not by label: a relation may have that name
    counts["Total"] = counts.sum(axis=1)
    return counts.rename_axis(index="relation", columns=None).astype(int)


def all_categories(annotations: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`categories_by_relation` of every split that was annotated, by the paper's number of the table."""
    present = set(annotations["split"])
    return {name: categories_by_relation(annotations, split) for split, name in SPLITS.items() if split in present}


def share(count: int, n: int) -> tuple[float, float, float]:
    """`count` of `n` in percent, with its 95 % interval (Wilson): value, low, high."""
    low, high = proportion_confint(count, n, method="wilson")
    return 100 * count / n, 100 * float(low), 100 * float(high)


def shares_by_relation(annotations: pd.DataFrame) -> pd.DataFrame:
    """split, relation, n, the share of each category (%), and unknown_low and unknown_high: the interval of Unknown.

    Splits in the order of `SPLITS`, then others by name; within a split, the relation with most Unknown first.
    """
    rows = []
    for (split, relation), of in annotations.groupby(["split", "relation"], observed=True)["category"]:
        counts = of.value_counts()
        shares = {name: share(int(counts.get(name, 0)), len(of)) for name in CATEGORIES}
        low, high = shares[UNKNOWN][1:]
        rows.append((split, relation, len(of), *(shares[name][0] for name in CATEGORIES), low, high))
    found = pd.DataFrame(rows, columns=["split", "relation", "n", *CATEGORIES, "unknown_low", "unknown_high"])
    place = {name: number for number, name in enumerate((*SPLITS, *sorted({*found["split"]} - {*SPLITS})))}
    found["place"] = found["split"].map(place)
    return found.sort_values(
        ["place", UNKNOWN, "relation"], ascending=[True, False, True], ignore_index=True
    ).drop(columns="place")


def expected_labels(annotations: pd.DataFrame) -> pd.DataFrame:
    """label, n, and how probable each label would be in another annotation (%), mean over the rows so labelled."""
    rows = annotations.groupby("category")[[*CERTAINTY.values()]]
    means = 100 * rows.mean().rename(columns={column: name for name, column in CERTAINTY.items()})
    means.insert(0, "n", rows.size())
    return means.reindex([name for name in CATEGORIES if name in means.index]).rename_axis("label").reset_index()


def label_certainty(annotations: pd.DataFrame) -> pd.Series:
    """The probability that another annotation gives a row its own label again; NaN where that is not told."""
    found = pd.Series(np.nan, annotations.index)
    for name, column in CERTAINTY.items():
        if column in annotations:
            found = found.where(annotations["category"] != name, annotations[column])
    return found
