"""Tables of the data: how many examples of each category every relation has (paper tables 3 to 5)."""

from __future__ import annotations

import pandas as pd

from slick_jax.categories import CATEGORIES

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
