"""The figures of the report page, each with the caption that says how to read it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from slick_jax.analysis import (
    annotation_gallery,
    category_figures,
    curves,
    figures,
    fitting,
    measure_figures,
    shift,
    unknown_tests,
)
from slick_jax.analysis.evidence import Evidence
from slick_jax.analysis.runs import Study
from slick_jax.analysis.shown import Shown, shown
from slick_jax.analysis.unknown_tests import Tested
from slick_jax.epochs import STOPS

_FALLS = {
    "test": "accuracy falls with the share of Unknown, by up to 14 points at CONVERGENCE and hardly at EARLY_STOP.",
    "ood_test": "the same and smaller, up to 6 points.",
}
_WHERE = {"test": "", "ood_test": ", out of distribution"}
NEEDS = annotation_gallery.NEEDS | {  # what each figure takes, by its file name
    "f1_curves": "F1/F6: no finished unknown_<X> run with evaluated training examples",
    "f3a_budgets": "F3a: no finished unknown_<X> run with an evaluated test split",
    "f3b_ablation": "F3b: no finished known_only_<X> run with an evaluated test split",
    "f4_fitted": "F4: no finished unknown_<X> run with training examples evaluated at EARLY_STOP",
    "f7a_budgets": "F7a: no finished unknown_<X> run with an evaluated out-of-distribution test split",
    "f7b_ablation": "F7b: no finished known_only_<X> run with an evaluated out-of-distribution test split",
    "t2_categories": "T2/T7: needs answers of two single-category variants or more",
    "f5_unknown": "F5: needs answers of natural (D_Natural), and exemplar sets or P(True) in annotations.parquet",
    "t1_coefficients": "T1 as a figure: needs the regression",
    "shift": shift.NEEDS,
}


def draw(
    evidence: Evidence, table_one: pd.DataFrame, table_two: pd.DataFrame, tested: Tested | None
) -> tuple[list[Shown], list[str]]:
    """Every figure that the finished runs allow, in the order of the page, and a sentence for every other one.

    Args:
      table_one, table_two: of `regression.table_one` and `single_categories.table_two`.
      tested: of `unknown_tests.tested` at EARLY_STOP.
    """
    study = evidence.study
    drawn = [
        *annotation_gallery.draw(study),
        _curves(study),
        _budgets(evidence, "f3a", "test"),
        _budgets(evidence, "f7a", "ood_test"),
        _ablation(evidence, "f3b", "test"),
        _ablation(evidence, "f7b", "ood_test"),
        _fitted(study),
        _categories(table_two),
        _unknown(tested),
        _coefficients(table_one),
        _shift(study),
    ]
    there = [figure for figure in drawn if figure is not None]
    return there, [reason for name, reason in NEEDS.items() if name not in {figure.file for figure in there}]


def _curves(study: Study) -> Shown | None:
    followed = curves.followed(study)
    if not followed:
        return None
    table = curves.by_epoch(followed)
    stops = [run.early_stop for run in followed if run.early_stop is not None]
    bounds = fitting.Fitting(followed).curves()
    numbers = _with_intervals(table, bounds, ["curve", "epoch"])
    return shown(
        "f1_curves", f"F1, F6: fitting and development accuracy, {followed[0].percent} % Unknown",
        "Each coloured curve is the share of that category's training examples answered right, greedily and without"
        " exemplars, after each evaluated epoch; the dashed curve is accuracy on the development set. The"
        " dotted line marks EARLY_STOP, the epoch where the dashed curve is highest. Bands around the coloured curves"
        " are 95 % intervals over seeds and training examples. Published: Unknown examples are fitted far more slowly,"
        " and development accuracy peaks before most of them are.",
        figures.curves_figure(table, stops, bounds), numbers,
    )  # fmt: skip


def _budgets(evidence: Evidence, name: str, split: str) -> Shown | None:
    study, bounds = evidence.study, evidence.by_stop(split)
    table = curves.by_budget(study, split)
    if table.empty:
        return None
    ends = {run.convergence for run in study.mixtures}
    end = ends.pop() if len(ends) == 1 else None
    stop = table["budget"].map({"EARLY_STOP": "EARLY_STOP", str(end): "CONVERGENCE"})
    of_d = bounds[bounds["data"] == "D"]
    numbers = _with_intervals(table.assign(stop=stop), of_d, ["percent_unknown", "stop"]).drop(columns="stop")
    return shown(
        f"{name}_budgets", f"{name.upper()}: accuracy against the share of Unknown examples{_WHERE[split]}",
        "Every mixture has the same number of examples. A line is one length of training, stronger the longer;"
        " the dashed line with stars stops each mixture at its best development epoch. Read downwards at one"
        f" share: the distance between the lines is what longer training costs.{_bands(bounds)}"
        f" Published: {_FALLS[split]}",
        figures.budgets_figure(table, split, end, bounds if len(bounds) else None), numbers,
    )  # fmt: skip


def _ablation(evidence: Evidence, name: str, split: str) -> Shown | None:
    table, bounds = curves.ablation(evidence.study, split), evidence.by_stop(split)
    if not ((table["data"] == "D_Known") & (table["percent_unknown"] > 0)).any():
        return None
    return shown(
        f"{name}_ablation", f"{name.upper()}: what the Unknown examples themselves cost{_WHERE[split]}",
        "D_Known is the mixture D at the same share with its Unknown examples taken out, so it is smaller (at 0 % the"
        " two are the same). Where the two meet, the Unknown examples did no harm; where D lies below D_Known, they"
        f" did.{_bands(bounds)} Published: nearly equal at EARLY_STOP; at CONVERGENCE D is worse, in proportion to"
        " % Unknown.",
        figures.ablation_figure(table, split, bounds if len(bounds) else None),
        _with_intervals(table, bounds, ["percent_unknown", "data", "stop"]),
    )  # fmt: skip


def _fitted(study: Study) -> Shown | None:
    table = curves.fitted_at_early_stop(study)
    if table.empty:
        return None
    bounds = fitting.fitted_shares(study.mixtures)
    return shown(
        "f4_fitted", "F4: what is fitted at EARLY_STOP",
        "A bar is the whole of a mixture. Full colour: training examples answered right after the best development"
        " epoch; hatched: not yet. Numbers are percent of D (parts below 6 % carry none); the whiskers above a bar are"
        " the 95 % intervals of where its fitted parts end, over seeds and training examples. Published: at EARLY_STOP"
        " most Known examples are fitted and most Unknown ones are not.",
        figures.fitted_figure(table, bounds), _with_intervals(table, bounds, ["percent_unknown", "group"]),
    )  # fmt: skip


def _categories(table: pd.DataFrame) -> Shown | None:
    if table.empty:
        return None
    return shown(
        "t2_categories", "T2, T7: what one category alone teaches",
        "Every data set has the same number of examples, all of one category (D_Natural: in the shares of the data)."
        " Plus signs: accuracy on the whole test set; other marks: on its questions of one category. Whiskers are 95 %"
        " intervals over seeds and questions. Read from left to right panel: what longer training costs. Published:"
        " MaybeKnown examples alone are best overall at both stopping points; Unknown ones lose most.",
        category_figures.single_categories_figure(table), table,
    )  # fmt: skip


def _unknown(tested: Tested | None) -> Shown | None:
    table = unknown_tests.figure_five(tested) if tested else pd.DataFrame()
    if table.empty:
        return None
    return shown(
        "f5_unknown", "F5: which measure finds what stays unknown?",
        "Each point is one way to call test questions Unknown before fine-tuning: how many are called so, and how many"
        " of these the model answers right after fine-tuning on D_Natural, at EARLY_STOP; lower is better. SliCK with"
        " fewer exemplar sets is the mean over all choices of so many of the run's sets. Whiskers and bands are 95 %"
        " intervals over seeds and questions. Published: at an equal share SliCK's Unknown is answered right less often"
        " than P(True)'s, and fewer than 10 sets are worse.",
        measure_figures.unknown_tests_figure(table, 100 * float(tested.hits.mean())), table,
    )  # fmt: skip


def _coefficients(table: pd.DataFrame) -> Shown | None:
    if table.empty:
        return None
    there = table["b_kn_low"].notna().any()
    bars = " Whiskers are 95 % intervals, clustered by run." if there else " Fewer than six runs: no intervals."
    return shown(
        "t1_coefficients", "T1 as a figure: what fitting Known and Unknown examples goes with",
        "A point is by how much accuracy changes, in points, when the whole training set is of that kind and fitted:"
        " right of the vertical line fitting goes with gains, left of it with losses. Crosses are the published"
        f" coefficients, of another model and data set.{bars} Published: gains from Known and losses from Unknown,"
        " both smaller out of distribution.",
        figures.coefficients_figure(table), table,
    )  # fmt: skip


def _shift(study: Study) -> Shown | None:
    """Of the test questions, at the last stopping point that was annotated again."""
    table = shift.matrices(study)
    table = table[table["split"] == "test"]
    there = [stop for stop in STOPS if stop in set(table["stop"])]
    if not there:
        return None
    return shown(
        "shift", f"Category shift: what the model knows before and after, at {there[-1]}",
        "The tuned model was annotated again by the same protocol. A row is a category before fine-tuning, a column the"
        " category after; numbers are percent of the row, bold where nothing changed. Right of the diagonal is what"
        " was forgotten, left of it what was gained. Test questions only, mean over seeds.",
        category_figures.shift_figure(table[table["stop"] == there[-1]]), table,
    )  # fmt: skip


def _bands(bounds: pd.DataFrame) -> str:
    return " Bands are 95 % intervals over seeds and questions." if len(bounds) else ""


def _with_intervals(table: pd.DataFrame, bounds: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """A row per seed, with the interval of the mean over seeds beside it."""
    if bounds.empty:
        return table
    kept = bounds[[*keys, "low", "high"]].rename(columns={"low": "mean_low", "high": "mean_high"})
    return table.merge(kept, how="left", on=list(keys))
