"""The figures of categories after fine-tuning: what one category alone teaches (T2), and category shift."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from slick_jax.analysis import canvas, palette
from slick_jax.analysis.single_categories import SUBSETS
from slick_jax.categories import CATEGORIES
from slick_jax.epochs import STOPS

SHORT = {"HighlyKnown": "Highly", "MaybeKnown": "Maybe", "WeaklyKnown": "Weakly", "Unknown": "Unknown"}
SHADES = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", palette.KNOWN_COLOUR])
DODGE = 0.13  # between the categories of one data set


def single_categories_figure(table: pd.DataFrame) -> Figure:
    """T2: accuracy of every single-category data set, whole and per category, at both stopping points.

    Args:
      table: of `single_categories.table_two`; 95 % intervals are whiskers.
    """
    figure = canvas.empty(9.6, 4.4)
    panels = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(table["variant"]))
    subsets = [name for name in SUBSETS if name in set(table["subset"])]
    for axes, stop in zip(panels, STOPS, strict=True):
        canvas.plain(axes)
        for place, subset in enumerate(subsets):
            here = table[(table["stop"] == stop) & (table["subset"] == subset)].set_index("variant").loc[names]
            x = np.arange(len(names)) + DODGE * (place - (len(subsets) - 1) / 2)
            style = palette.CURVE_STYLES["all" if subset == "Full" else subset] | {"linestyle": "none"}
            label = "all test questions" if subset == "Full" else subset
            axes.plot(x, here["accuracy"], label=label, **{**canvas.LOOK, **style})
            canvas.whiskers(axes, pd.Series(x), here["low"], here["high"], style["color"])
        axes.set_title(stop, fontsize=10)
        axes.set_xticks(range(len(names)), [name.replace("Known", "\nKnown") for name in names], fontsize=9)
        axes.set_xlabel("data set of fine-tuning")
        axes.set_ylim(-2, 102)
    panels[0].set_ylabel("test accuracy (%)")
    canvas.legend_below(figure, panels[0], len(subsets))
    return figure


def shift_figure(table: pd.DataFrame) -> Figure:
    """Category shift: a matrix before -> after per variant, in percent of the category before.

    Args:
      table: of `shift.matrices`, of one split and one stopping point.
    """
    variants = list(dict.fromkeys(table["variant"]))
    columns = min(len(variants), 2 if len(variants) == 4 else 3)
    rows = -(-len(variants) // columns)
    figure = canvas.empty(0.9 + 3.1 * columns, 0.6 + 3.0 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, variant in zip(panels, variants, strict=False):
        here = table[table["variant"] == variant]
        shares = here.pivot(index="before", columns="after", values="share").loc[list(CATEGORIES), list(CATEGORIES)]
        matrix(axes, shares.to_numpy(float))
        axes.set_title(variant, fontsize=10)
    for axes in panels[len(variants) :]:
        axes.set_visible(False)
    figure.supxlabel("category after fine-tuning (% of the row)", fontsize=10)
    figure.supylabel("category before", fontsize=10)
    return figure


def matrix(axes: Axes, shares: np.ndarray) -> None:
    """Shares in percent, [4 4] in the order of CATEGORIES, bold where nothing changed; NaN is left out."""
    axes.imshow(np.nan_to_num(shares), cmap=SHADES, vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(shares):
        if not np.isnan(value):
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=10,
                color="white" if value > 55 else "black", fontweight="bold" if row == column else "normal",
            )  # fmt: skip
    names = [SHORT[name] for name in CATEGORIES]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
