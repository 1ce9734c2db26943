"""Accuracy explained by what a model has fitted (paper section 4.4, table 1)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import statsmodels.api as sm

from slick_jax.analysis.runs import WHOLE, Study
from slick_jax.categories import GROUPS

TERMS = {"known": "b_kn", "unknown": "b_unk"}
PUBLISHED = {  # paper table 1, PaLM 2-M on EntityQuestions: points, R2
    "test": {"b0": 36.9, "b_kn": 7.3, "b_unk": -8.3, "r2": 0.86},
    "ood_test": {"b0": 36.2, "b_kn": 3.2, "b_unk": -3.0, "r2": 0.95},
}


def rows(study: Study, split: str) -> pd.DataFrame:
    """A row per evaluated epoch of every unknown_<X> run.

    Returns:
      columns variant, seed, epoch, known and unknown (training examples of that kind FITTED after the epoch, as shares
      of |D|) and accuracy (percent of `split`). Epochs lacking the training examples or the split are left out.
    """
    found = []
    for run in study.mixtures:
        scored = run.accuracy[(run.accuracy["split"] == split) & (run.accuracy["category"] == WHOLE)]
        for epoch, em in zip(scored["epoch"], scored["em"], strict=True):
            fitted = run.fitted_at(epoch)["fitted"]
            if fitted.empty:
                continue
            shares = [fitted.get(group, 0) / run.size for group in GROUPS]
            found.append((run.variant, run.seed, epoch, *shares, em * 100))
    return pd.DataFrame(found, columns=["variant", "seed", "epoch", "known", "unknown", "accuracy"])


def fit(table: pd.DataFrame) -> dict[str, float] | None:
    """Least squares of Accuracy = b0 + b_kn N_kn/|D| + b_unk N_unk/|D| over `rows`.

    Returns:
      b0, b_kn, b_unk in points (percent accuracy; the b of a term is its effect when all of |D| is fitted), r2, n_rows
      and n_runs; None where the rows cannot tell the coefficients apart (too few, one kind never fitted, or a single
      mixture, in which both kinds only grow together with the epochs).
    """
    columns = list(TERMS)
    design = sm.add_constant(table[columns].astype(float), has_constant="add")
    too_few = table["variant"].nunique() < 2 or len(table) <= design.shape[1]
    if too_few or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    solved = sm.OLS(table["accuracy"].astype(float), design).fit()
    coefficients = {name: float(solved.params[column]) for column, name in TERMS.items()}
    return {
        "b0": float(solved.params["const"]),
        **coefficients,
        "r2": float(solved.rsquared),
        "n_rows": len(table),
        "n_runs": len(table[["variant", "seed"]].drop_duplicates()),
    }


def table_one(study: Study) -> tuple[pd.DataFrame, list[str]]:
    """Table 1: a row per test set with the coefficients here and in the paper; and a sentence for each one missing."""
    found, missing = [], []
    for split, published in PUBLISHED.items():
        solved = fit(rows(study, split))
        if solved is None:
            missing.append(
                f"T1 for {split}: needs evaluated epochs of unknown_<X> runs in which the shares of fitted Known and"
                " Unknown examples vary independently (two values of X at least)"
            )
            continue
        found.append({"split": split, **solved, **{f"paper_{name}": value for name, value in published.items()}})
    return pd.DataFrame(found), missing
