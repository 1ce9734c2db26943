"""What all figures share: the canvas, plain axes, legends, and lines with their intervals."""

from __future__ import annotations

import io

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

DPI = 150
SPLIT_NAMES = {"test": "test", "ood_test": "out-of-distribution test"}
LOOK = {"markersize": 4.5, "linewidth": 1.8}


def png(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures are equal bytes. A $ in its texts is a dollar: names of others are no TeX."""
    sink = io.BytesIO()
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with matplotlib.rc_context({"text.parse_math": False}):  # of texts that drawing makes
        figure.set_dpi(DPI)
        figure.get_layout_engine().execute(figure)  # by hand: saving would draw a second time for it
        figure.set_layout_engine("none")
        figure.savefig(sink, format="png", dpi=DPI, metadata={"Software": None})
    return sink.getvalue()


def empty(width: float, height: float) -> Figure:
    """An empty figure of width x height inches, outside pyplot: nothing global, no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # inches
    FigureCanvasAgg(figure)
    return figure


def single(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one plain panel."""
    figure = empty(width, height)
    axes = figure.subplots()
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """Two spines and horizontal grid lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)


def line(axes: Axes, points: pd.DataFrame, x: str, style: dict, label: str, bounds: pd.DataFrame | None = None) -> None:
    """The mean over seeds against column `x`, within its interval.

    Args:
      points: columns x, seed, accuracy.
      bounds: columns x, low, high; None: the range of the seeds, where there are several.
    """
    seeds = points.groupby(x)["accuracy"].agg(["mean", "min", "max"])
    look = {**LOOK, **style}
    if len(seeds) == 1:
        look["marker"] = style["marker"] or "x"  # a single point is no line
    axes.plot(seeds.index, seeds["mean"], label=label, markevery=max(1, len(seeds) // 20), **look)
    if bounds is None and points["seed"].nunique() > 1:
        bounds = seeds.reset_index().rename(columns={"min": "low", "max": "high"})
    if bounds is not None and len(bounds):
        bounds = bounds.sort_values(x)
        axes.fill_between(bounds[x], bounds["low"], bounds["high"], color=style["color"], alpha=0.15, linewidth=0)


def whiskers(axes: Axes, x: pd.Series, low: pd.Series, high: pd.Series, colour: str) -> None:
    """Vertical 95 % intervals with caps."""
    axes.vlines(x, low, high, color=colour, linewidth=1.1, zorder=2)
    axes.scatter([*x, *x], [*low, *high], marker="_", s=28, color=colour, linewidth=1.1, zorder=2)


def legend(axes: Axes) -> None:
    """Beside the panel, on its right."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
