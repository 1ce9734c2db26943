"""The figures of what the model knows before fine-tuning, which take annotations alone."""

from __future__ import annotations

import pandas as pd

from slick_jax.analysis import annotation_figures, measure_figures, tables
from slick_jax.analysis.runs import Study
from slick_jax.analysis.shown import Shown, shown
from slick_jax.categories import CERTAINTY

NEEDS = {  # what each figure takes, by its file name
    "relations": "categories by relation: no annotations.parquet",
    "certainty": "label certainty: no p_highly ... p_unknown of this mix.rule in annotations.parquet; `slick annotate`"
    " writes them in the modes 'full' and 'exact'",
    "saturation": "saturation: no saturation.csv of this mix.rule; `slick annotate` writes that of '' in mode 'full'",
}


def draw(study: Study) -> list[Shown | None]:
    """In the order of the page; None for what cannot be drawn."""
    return [_relations(study), _certainty(study), _saturation(study)]


def _relations(study: Study) -> Shown | None:
    table = tables.shares_by_relation(study.annotations) if study.annotations is not None else pd.DataFrame()
    if table.empty:
        return None
    most = annotation_figures.MOST
    cut = f" Of a split with more than {most} relations, the {most} largest are drawn." if _many(table, most) else ""
    return shown(
        "relations", "Categories by relation, before fine-tuning",
        "A bar is all questions of a relation, the relation with most Unknown ones on top; in brackets how many there"
        " are. Numbers are percent (parts below 8 % carry none). The whisker above a bar is the 95 % interval (Wilson)"
        " of where Unknown begins: where it is wide, the relation has few questions. Read down: which relations the"
        f" model knows nothing of.{cut}",
        annotation_figures.relations_figure(table), table,
    )  # fmt: skip


def _certainty(study: Study) -> Shown | None:
    there = study.annotations
    if there is None or not {*CERTAINTY.values()} <= {*there} or there[[*CERTAINTY.values()]].isna().any(axis=None):
        return None
    table = tables.expected_labels(there)
    same = 100 * tables.label_certainty(there).mean()
    return shown(
        "certainty", "Label certainty: would another annotation say the same?",
        "Left: a row is the label that a question has, a column the label that it would get with other exemplar sets"
        " and samples, in percent of the row; bold is the same label again. Right: the share of each category whose"
        " label is at least as certain as the axis says; the higher a line stays, the surer its labels. Of all labels"
        f" here, {same:.0f} % would be expected to stay. Unsure labels blur the categories, so that differences between"
        " them come out smaller than they are; more exemplar sets (annotate.n_exemplar_sets) make them surer.",
        annotation_figures.certainty_figure(table, there), table,
    )  # fmt: skip


def _many(table: pd.DataFrame, most: int) -> bool:
    return bool((table.groupby("split", sort=False).size() > most).any())


def _saturation(study: Study) -> Shown | None:
    table = study.saturation
    if table is None or table.empty:
        return None
    unknown = table.set_index(["n_exemplar_sets", "n_samples"])["Unknown"]
    sets, samples = unknown.index[-1]
    fewer = [f"{unknown[at] - unknown.iloc[-1]:.1f}" for at in ((max(sets - 1, 1), samples), (sets, samples - 1))]
    return shown(
        "saturation", "Saturation: were there enough exemplar sets and samples?",
        "What the categories of all annotated questions would have been with fewer draws: with the first of the"
        f" {sets} exemplar sets (left), with the first of the {samples} samples behind each set (right). Both panels"
        " end on the right with the run itself. More draws only take examples out of Unknown, and move HighlyKnown and"
        " WeaklyKnown ones to MaybeKnown; where the lines have not levelled off, the next draws would move more. Here"
        f" the last exemplar set took {fewer[0]} points out of Unknown, the last sample {fewer[1]}. Published (figure"
        " 5): with fewer than 10 sets, what is called Unknown says less about what stays wrong after fine-tuning.",
        measure_figures.saturation_figure(table), table,
    )  # fmt: skip
