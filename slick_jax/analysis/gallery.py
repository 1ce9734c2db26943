"""The figures of the report page, each with the caption that says how to read it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pandas as pd

from slick_jax.analysis import curves, figures
from slick_jax.analysis.runs import Study

_PUBLISHED = {
    "test": "accuracy falls with the share of Unknown, by up to 14 points at CONVERGENCE and hardly at EARLY_STOP.",
    "ood_test": "the same and smaller, up to 6 points.",
}
_NEEDS = {
    "f1_curves": "F1/F6: no finished unknown_<X> run",
    "f3a_budgets": "F3a: no finished unknown_<X> run with an evaluated test split",
    "f3b_ablation": "F3b: no finished known_only_<X> run with an evaluated test split",
    "f4_fitted": "F4: no finished unknown_<X> run with training examples evaluated at EARLY_STOP",
}


@dataclass(frozen=True)
class Shown:
    """A figure of the page."""

    file: str  # name below figures/, without its ending; its numbers are tables/<file>.csv
    title: str
    caption: str  # how to read it
    image: bytes  # PNG
    numbers: pd.DataFrame

    @property
    def source(self) -> str:
        """The image as a data URL, so that the page works from disk alone."""
        return "data:image/png;base64," + base64.b64encode(self.image).decode("ascii")


def draw(study: Study) -> list[Shown]:
    """Every figure that the finished runs allow, in the order of the page."""
    drawn = []
    followed = curves.followed(study)
    if followed:
        table = curves.by_epoch(followed)
        stops = [run.early_stop for run in followed if run.early_stop is not None]
        drawn.append(Shown(
            "f1_curves", f"F1, F6: fitting and development accuracy, {followed[0].percent} % Unknown",
            "Each coloured curve is the share of that category's training examples answered right, greedily and without"
            " exemplars, after each evaluated epoch; the dashed black curve is accuracy on the development set. The"
            " dotted line marks EARLY_STOP, the epoch where the black curve is highest. Published: Unknown examples are"
            " fitted far more slowly, and development accuracy peaks before most of them are.",
            figures.png(figures.curves_figure(table, stops)), table,
        ))  # fmt: skip
    for name, split in (("f3a", "test"), ("f7a", "ood_test")):
        table = curves.by_budget(study, split)
        if not table.empty:
            where = "" if split == "test" else ", out of distribution"
            ends = {run.convergence for run in study.mixtures}
            drawn.append(Shown(
                f"{name}_budgets", f"{name.upper()}: accuracy against the share of Unknown examples{where}",
                f"Every mixture has the same number of examples. A line is one length of training, darker the longer;"
                f" the dashed line with stars stops each mixture at its best development epoch. Read downwards at one"
                f" share: the distance between the lines is what longer training costs. Published: {_PUBLISHED[split]}",
                figures.png(figures.budgets_figure(table, split, ends.pop() if len(ends) == 1 else None)), table,
            ))  # fmt: skip
    for name, split in (("f3b", "test"), ("f7b", "ood_test")):
        table = curves.ablation(study, split)
        if ((table["data"] == "D_Known") & (table["percent_unknown"] > 0)).any():
            where = "" if split == "test" else ", out of distribution"
            drawn.append(Shown(
                f"{name}_ablation", f"{name.upper()}: what the Unknown examples themselves cost{where}",
                "D_Known is the mixture D at the same share with its Unknown examples taken out, so it is smaller (at"
                " 0 % the two are the same)."
                " Where the two meet, the Unknown examples did no harm; where D lies below D_Known, they did."
                " Published: nearly equal at EARLY_STOP; at CONVERGENCE D is worse, in proportion to % Unknown.",
                figures.png(figures.ablation_figure(table, split)), table,
            ))  # fmt: skip
    table = curves.fitted_at_early_stop(study)
    if not table.empty:
        drawn.append(Shown(
            "f4_fitted", "F4: what is fitted at EARLY_STOP",
            "A bar is the whole of a mixture. Full colour: training examples answered right after the best development"
            " epoch; hatched: not yet. Numbers are percent of D (parts below 6 % carry none). Published: at EARLY_STOP"
            " most Known examples are fitted and most Unknown ones are not.",
            figures.png(figures.fitted_figure(table)), table,
        ))  # fmt: skip
    return drawn


def undrawn(drawn: list[Shown]) -> list[str]:
    """A sentence for every figure that could not be made."""
    return [reason for name, reason in _NEEDS.items() if name not in {figure.file for figure in drawn}]
