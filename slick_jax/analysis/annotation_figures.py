"""The figures of what the model knows before fine-tuning: categories by relation, and how sure the labels are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from slick_jax.analysis import canvas, palette
from slick_jax.analysis.category_figures import matrix
from slick_jax.analysis.tables import label_certainty
from slick_jax.categories import CATEGORIES

MOST = 40  # relations of a split that are drawn
LETTERS = 30  # of a relation's name
DARK = ("HighlyKnown", "MaybeKnown")  # numbers on these are white


def relations_figure(table: pd.DataFrame) -> Figure:
    """A bar per relation, a panel per split: the shares of the categories, and the interval of where Unknown begins.

    Args:
      table: of `tables.shares_by_relation`.
    """
    splits = {name: _largest(rows) for name, rows in table.groupby("split", sort=False)}
    heights = [len(rows) for rows in splits.values()]
    figure = canvas.empty(7.6, 0.7 + 0.55 * len(splits) + 0.36 * sum(heights))
    panels = figure.subplots(len(splits), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (split, rows) in zip(panels, splits.items(), strict=True):
        canvas.plain(axes)
        axes.grid(False)
        _bars(axes, rows)
        names = [f"{_short(row.relation)} ({row.n:,})" for row in rows.itertuples()]
        axes.set_yticks(range(len(rows)), names, fontsize=9)
        axes.set_ylim(len(rows) - 0.4, -0.7)
        axes.set_title(f"split {split}", fontsize=10, loc="left")
    panels[-1].set_xlim(0, 100)
    panels[-1].set_xlabel("share of the questions (%)")
    figure.supylabel("relation", fontsize=10)
    handles = [Patch(color=colour, label=name) for name, colour in palette.CATEGORY_COLOURS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def certainty_figure(table: pd.DataFrame, annotations: pd.DataFrame) -> Figure:
    """Left: the labels that another annotation is expected to give, by the label of this one. Right: a line per
    category, the share of its rows whose own label is at least as probable as x says.

    Args:
      table: of `tables.expected_labels`.
      annotations: with the columns of `categories.CERTAINTY`.
    """
    figure = canvas.empty(9.2, 4.0)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    matrix(left, table.set_index("label").reindex(CATEGORIES)[list(CATEGORIES)].to_numpy(float))
    left.set_xlabel("label if annotated again (% of the row)")
    left.set_ylabel("label")
    canvas.plain(right)
    own = label_certainty(annotations)
    for name in table["label"]:
        sure = np.sort(100 * own[annotations["category"] == name].to_numpy())
        style = palette.CURVE_STYLES[name]
        at = np.linspace(0, 100, 101)
        share = 100 * (1 - np.searchsorted(sure, at - 1e-9) / len(sure))
        right.plot(at, share, label=name, markevery=10, **{**canvas.LOOK, **style})
    right.set_xlim(0, 100)
    right.set_ylim(-2, 102)
    right.set_xlabel("certainty of the label, at least (%)")
    right.set_ylabel("share of the category (%)")
    canvas.legend_below(figure, right, 4)
    return figure


def _bars(axes: Axes, rows: pd.DataFrame) -> None:
    places, left = np.arange(len(rows)), np.zeros(len(rows))
    for name in CATEGORIES:
        width = rows[name].to_numpy()
        bars = axes.barh(places, width, left=left, height=0.62, color=palette.CATEGORY_COLOURS[name])
        texts = [f"{value:.0f}" if value >= 8 else "" for value in width]
        axes.bar_label(bars, texts, label_type="center", fontsize=8.5, color="white" if name in DARK else "black")
        left += width
    # Where Unknown begins, the last part of a bar; above the bar, where they hide no number.
    low, high = 100 - rows["unknown_high"], 100 - rows["unknown_low"]
    axes.hlines(places - 0.42, low, high, color="black", linewidth=1.2)
    axes.plot([*low, *high], [*places - 0.42] * 2, "|", color="black", markersize=4.5, clip_on=False)


def _largest(rows: pd.DataFrame) -> pd.DataFrame:
    """The relations with most questions, in the order of the table."""
    return rows.loc[sorted(rows.nlargest(MOST, "n").index)]


def _short(name: str) -> str:
    text = " ".join(str(name).split())
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
