"""Accuracy explained by what a model has fitted (paper section 4.4, table 1)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import OLS  # not statsmodels.api, which imports all there is
from statsmodels.tools import add_constant

from slick_jax.analysis.runs import WHOLE, Study
from slick_jax.categories import GROUPS

TERMS = {"const": "b0", "known": "b_kn", "unknown": "b_unk"}
LEAST_RUNS = 6  # for an interval: on made-up runs, 95 % intervals over 4 or 5 of them held 85 to 90 % of the time
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

    The epochs of one run are not independent of each other, so standard errors are clustered by run (with the usual
    correction for few clusters), and intervals are of Student's t with one degree of freedom less than there are runs.

    Returns:
      b0, b_kn, b_unk in points (percent accuracy; the b of a term is its effect when all of |D| is fitted), each with
      its standard error <name>_se and 95 % interval <name>_low, <name>_high (NaN with fewer than LEAST_RUNS), the plain
      r2, n_rows and n_runs; None where the rows cannot tell the coefficients apart (too few, one kind never fitted, or
      a single mixture, in which both kinds only grow together with the epochs).
    """
    design = add_constant(table[["known", "unknown"]].astype(float), has_constant="add")
    too_few = table["variant"].nunique() < 2 or len(table) <= design.shape[1]
    if too_few or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    model = OLS(table["accuracy"].astype(float), design)
    run = table.groupby(["variant", "seed"]).ngroup().to_numpy()
    n_runs = len(set(run))
    solved = model.fit()
    found = {}
    if n_runs >= LEAST_RUNS:
        solved = model.fit(cov_type="cluster", cov_kwds={"groups": run}, use_t=True)
    intervals = solved.conf_int()
    for column, name in TERMS.items():
        found[name] = float(solved.params[column])
        inferred = solved.bse[column], *intervals.loc[column]
        for part, value in zip(("se", "low", "high"), inferred, strict=True):
            found[f"{name}_{part}"] = float(value) if n_runs >= LEAST_RUNS else float("nan")
    return {**found, "r2": float(solved.rsquared), "n_rows": len(table), "n_runs": n_runs}


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
