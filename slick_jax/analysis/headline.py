"""The study in a few figures and sentences: what was fitted when, and what the stopping point costs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slick_jax.analysis import curves
from slick_jax.analysis.runs import STOPS, Study, TrainingRun

TESTS = {"test": "test", "ood_test": "OOD"}
FITTED = 0.9  # share of a group that counts as having fitted it
LEGEND = (
    f"fit Known, fit Unknown: first evaluated epoch after which {FITTED:.0%} of those training examples are answered"
    " right; EARLY_STOP: epoch with the best development accuracy; CONVERGENCE: last epoch; test and OOD at ES and"
    " CONV: accuracy (%) at those epochs; a dash: none, or not evaluated"
)


def table(study: Study) -> pd.DataFrame:
    """A row per finished run; what the columns mean is LEGEND."""
    rows = []
    for run in study.runs:
        row = {"variant": run.variant, "seed": run.seed, "examples": run.size}
        row |= {f"fit {group}": curves.epochs_to_fit(run, group, FITTED) for group in ("Known", "Unknown")}
        for stop, short in zip(STOPS, ("ES", "CONV"), strict=True):
            epoch = run.epoch_of(stop)
            row[stop] = epoch
            row |= {f"{name} at {short}": run.accuracy_at(epoch, split) for split, name in TESTS.items()}
        rows.append(row)
    return pd.DataFrame(rows).astype({"fit Known": "Int64", "fit Unknown": "Int64", "EARLY_STOP": "Int64"}).round(1)


def sentences(study: Study, table_one: pd.DataFrame) -> list[str]:
    """What the finished runs say, most important first; only what they can tell."""
    return [*_fitting(curves.followed(study)), *_cost(study), *_ablation(study), *_regression(table_one)]


def _fitting(runs: list[TrainingRun]) -> list[str]:
    """How fast Known and Unknown were fitted, and where that stood when dev accuracy was best."""
    said = []
    for run in runs[:1]:
        times = {group: curves.epochs_to_fit(run, group, FITTED) for group in ("Known", "Unknown")}
        parts = [
            f"{FITTED:.0%} of the {group} examples were fitted "
            + (f"after epoch {epoch}" if epoch is not None else f"at no epoch up to {run.convergence}")
            for group, epoch in times.items()
            if group in set(np.where(run.fitted["category"] == "Unknown", "Unknown", "Known"))
        ]
        said.append(f"With {run.percent} % Unknown examples, {'; '.join(parts)}.")
        counts = run.fitted_at(run.early_stop)
        if not counts.empty:
            shares = [f"{count['fitted'] / count['n']:.0%} of the {group}" for group, count in counts.iterrows()]
            best = run.accuracy_at(run.early_stop, curves.DEV)
            said.append(
                f"Development accuracy was best ({best:.1f} %) after epoch {run.early_stop} of {run.convergence}"
                f" (EARLY_STOP), when {' and '.join(shares)} examples were fitted."
            )
    return said


def _cost(study: Study) -> list[str]:
    """Test accuracy from the least to the most Unknown, at both stopping points."""
    said = []
    for split, name in TESTS.items():
        means = curves.ablation(study, split).query("data == 'D'").groupby(["stop", "percent_unknown"])["accuracy"]
        means = means.mean()
        parts = []
        for stop in STOPS:
            here = means[stop] if stop in means.index else pd.Series(dtype=float)
            if len(here) > 1:
                parts.append(f"{here.iloc[-1] - here.iloc[0]:+.1f} points at {stop}")
                least, most = here.index[0], here.index[-1]
        if parts:
            said.append(f"From {least} % to {most} % Unknown examples, {name} accuracy changed by {', '.join(parts)}.")
    return said


def _ablation(study: Study) -> list[str]:
    """What the Unknown examples of a mixture cost: D minus D_Known."""
    points = curves.ablation(study, "test")
    means = points.pivot_table(index="percent_unknown", columns=["stop", "data"], values="accuracy", sort=True)
    said = []
    for percent in means.index[means.index > 0]:
        parts = [
            f"{means.loc[percent, (stop, 'D')] - means.loc[percent, (stop, 'D_Known')]:+.1f} points at {stop}"
            for stop in STOPS
            if (stop, "D") in means and (stop, "D_Known") in means
            and means.loc[percent, [(stop, "D"), (stop, "D_Known")]].notna().all()
        ]  # fmt: skip
        if parts:
            said.append(
                f"Beside the same Known examples alone (D_Known), the {percent} % mixture made a difference of"
                f" {', '.join(parts)} in test accuracy."
            )
    return said


def _regression(table_one: pd.DataFrame) -> list[str]:
    return [
        f"By the regression over all epochs and mixtures (R2 {row.r2:.2f}), fitting a training set of Known examples"
        f" only goes with {row.b_kn:+.1f} points of {TESTS[row.split]} accuracy, one of Unknown examples only with"
        f" {row.b_unk:+.1f} points."
        for row in table_one.itertuples()
    ]
