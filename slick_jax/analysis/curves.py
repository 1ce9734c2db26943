"""The numbers behind the figures, as tidy tables: accuracies and shares in percent, a row per point and seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from slick_jax.analysis.runs import WHOLE, Study, TrainingRun, known_or_unknown
from slick_jax.epochs import STOPS, fit_epoch

DEV = "dev"
MOST_BUDGETS = 5  # lines of F3a besides EARLY_STOP: more cannot be told apart


def followed(study: Study) -> list[TrainingRun]:
    """The runs that F1/F6 follow: the mixture nearest to 50 % Unknown among the finished, all of its seeds."""
    runs = [run for run in study.mixtures if not run.fitted.empty]
    if not runs:
        return []
    percent = min({run.percent for run in runs}, key=lambda x: (abs(x - 50), x))
    return [run for run in runs if run.percent == percent]


def by_epoch(runs: Sequence[TrainingRun]) -> pd.DataFrame:
    """F1/F6: variant, seed, epoch, curve (a category: its share of fitted training examples; or dev), accuracy."""
    tables = []
    for run in runs:
        train = run.fitted.assign(curve=run.fitted["category"], accuracy=run.fitted["fitted"] / run.fitted["n"] * 100)
        dev = run.accuracy[(run.accuracy["split"] == DEV) & (run.accuracy["category"] == WHOLE)]
        dev = dev.assign(curve=DEV, accuracy=dev["em"] * 100)
        columns = ["epoch", "curve", "accuracy"]
        tables.append(pd.concat([train[columns], dev[columns]]).assign(variant=run.variant, seed=run.seed))
    columns = ["variant", "seed", "epoch", "curve", "accuracy"]
    return pd.concat(tables)[columns].reset_index(drop=True) if tables else pd.DataFrame(columns=columns)


def by_budget(study: Study, split: str) -> pd.DataFrame:
    """F3a and F7: percent_unknown, seed, budget ('EARLY_STOP' or the number of epochs), epoch, accuracy on `split`.

    The budgets are epochs at which every mixture evaluated the split, spread evenly over a logarithmic scale.
    """
    rows = []
    for run in study.mixtures:
        budgets = [("EARLY_STOP", run.early_stop), *((str(e), e) for e in common_budgets(study, split))]
        rows += [(run.percent, run.seed, name, e, run.accuracy_at(e, split)) for name, e in budgets]
    return _frame(rows, ["percent_unknown", "seed", "budget", "epoch", "accuracy"])


def common_budgets(study: Study, split: str) -> list[int]:
    """Up to MOST_BUDGETS epochs at which every finished unknown_<X> run evaluated `split`, the last one among them."""
    sets = [
        set(run.accuracy.loc[run.accuracy["split"] == split, "epoch"])
        for run in study.mixtures
    ]
    common = sorted(set.intersection(*sets)) if sets else []
    if not common:
        return []
    wanted = np.geomspace(common[0], common[-1], MOST_BUDGETS)
    return sorted({int(min(common, key=lambda epoch: abs(np.log(epoch / at)))) for at in wanted})


def ablation(study: Study, split: str) -> pd.DataFrame:
    """F3b: percent_unknown, data ('D' or 'D_Known'), stop, seed, epoch, accuracy on `split`.

    D_Known at X % is D(X %) without its Unknown examples; it is compared at the same X. At 0 % the two are one data
    set, so the run of D stands for both.
    """
    rows = [
        (percent, data, stop, run.seed, run.epoch_of(stop), run.accuracy_at(run.epoch_of(stop), split))
        for run in study.runs
        for data, percent in (("D", run.percent), ("D_Known", 0 if run.percent == 0 else run.known_only_percent))
        for stop in STOPS
        if percent is not None
    ]
    return _frame(rows, ["percent_unknown", "data", "stop", "seed", "epoch", "accuracy"])


def fitted_at_early_stop(study: Study) -> pd.DataFrame:
    """F4: percent_unknown, seed, epoch, group ('Known' or 'Unknown'), fitted and not_fitted, as percent of D."""
    rows = []
    for run in study.mixtures:
        counts = run.fitted_at(run.early_stop)
        total = counts["n"].sum()
        for group, count in counts.iterrows():
            shares = count["fitted"] / total * 100, (count["n"] - count["fitted"]) / total * 100
            rows.append((run.percent, run.seed, run.early_stop, group, *shares))
    columns = ["percent_unknown", "seed", "epoch", "group", "fitted", "not_fitted"]
    return pd.DataFrame(rows, columns=columns).sort_values(["percent_unknown", "seed", "group"], ignore_index=True)


def epoch_to_fit(run: TrainingRun, group: str, percent: int) -> int | None:
    """First evaluated epoch after which `percent` of the group ('Known' or 'Unknown') is fitted; None: at none."""
    here = run.fitted[known_or_unknown(run.fitted["category"]) == group]
    return fit_epoch(here.groupby("epoch")[["fitted", "n"]].sum().itertuples(name=None), percent)


def _frame(rows: list[tuple], columns: list[str]) -> pd.DataFrame:
    """A table in a fixed order, without the points that were not evaluated."""
    table = pd.DataFrame(rows, columns=columns).dropna(subset=["accuracy"])
    return table.sort_values(columns[:4], ignore_index=True)
