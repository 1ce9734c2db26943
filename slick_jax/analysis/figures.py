"""The figures of mixtures and epochs: of the tables of `curves` (paper figures 1, 3, 4, 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from slick_jax.analysis import canvas, palette
from slick_jax.analysis.curves import DEV
from slick_jax.analysis.runs import category_order
from slick_jax.epochs import STOPS

LABELS = {"D": "D: all examples", "D_Known": "D_Known: without the Unknown ones", DEV: "development set"}

COEFFICIENTS = {"b_kn": "Known", "b_unk": "Unknown"}


def curves_figure(table: pd.DataFrame, early_stops: Sequence[int], bounds: pd.DataFrame | None = None) -> Figure:
    """F1/F6: share of fitted training examples per category, and dev accuracy, against epoch.

    Args:
      table: of `curves.by_epoch`; several seeds are drawn as their mean.
      bounds: of `fitting.Fitting.curves`: the intervals. A curve without is drawn within the range of its seeds.
      early_stops: EARLY_STOP of every seed that has one; each is marked.
    """
    figure, axes = canvas.single(7.6, 4.4)
    for name in [*category_order(table["curve"].tolist()), DEV]:
        points = table[table["curve"] == name]
        if not points.empty:
            label = LABELS.get(name, f"train, {name}")
            band = None if bounds is None or name == DEV else bounds[bounds["curve"] == name]
            canvas.line(axes, points, "epoch", palette.CURVE_STYLES[name], label, band)
    for epoch in sorted(set(early_stops)):
        axes.axvline(epoch, color=palette.STOP_COLOUR, linewidth=1.2, linestyle=":", zorder=1, gid="EARLY_STOP")
    if early_stops:
        stops = ", ".join(str(epoch) for epoch in sorted(set(early_stops)))
        where = min(early_stops)
        axes.annotate(
            f"EARLY_STOP (epoch {stops})", (where, 1.0), (0, 5), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="left" if where < table["epoch"].max() / 2 else "right",
            fontsize=9, color="#444444",
        )  # fmt: skip
    _name_axes(axes, "epoch of fine-tuning", "exact match (%)")
    axes.set_xlim(0, table["epoch"].max() * 1.02)
    axes.set_ylim(-2, 102)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    canvas.legend(axes)
    return figure


def budgets_figure(
    table: pd.DataFrame, split: str, convergence: int | None, bounds: pd.DataFrame | None = None
) -> Figure:
    """F3a (F7 out of distribution): accuracy on `split` against % Unknown, a line per epoch budget and EARLY_STOP.

    Args:
      table: of `curves.by_budget`.
      convergence: the last epoch of every run, named so in the legend; None where runs differ.
      bounds: of `evidence.by_stop`: the intervals at both stopping points. Without, lines are drawn within the range of
        their seeds.
    """
    figure, axes = canvas.single(7.6, 4.4)
    budgets = sorted({name for name in table["budget"] if name != "EARLY_STOP"}, key=int)
    for name, style in {**palette.budget_styles(budgets), "EARLY_STOP": palette.CURVE_STYLES["EARLY_STOP"]}.items():
        label = f"epoch {name}" if name.isdecimal() else name
        label += " (CONVERGENCE)" if name == str(convergence) else ""
        points = table[table["budget"] == name]
        if not points.empty:
            stop = "CONVERGENCE" if name == str(convergence) else name
            canvas.line(axes, points, "percent_unknown", style, label, _bounds(bounds, "D", stop))
    _unknown_axis(axes, table["percent_unknown"])
    axes.set_ylabel(f"{canvas.SPLIT_NAMES[split]} accuracy (%)")
    canvas.legend(axes)
    return figure


def ablation_figure(table: pd.DataFrame, split: str, bounds: pd.DataFrame | None = None) -> Figure:
    """F3b: accuracy on `split` of D against D_Known, at both stopping points side by side on one scale.

    Args:
      table: of `curves.ablation`.
      bounds: as in `budgets_figure`.
    """
    figure = canvas.empty(9.2, 4.0)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, stop in zip(panels, STOPS, strict=True):
        for data in ("D", "D_Known"):
            points = table[(table["stop"] == stop) & (table["data"] == data)]
            if not points.empty:
                style = palette.CURVE_STYLES[data]
                canvas.line(axes, points, "percent_unknown", style, LABELS[data], _bounds(bounds, data, stop))
        axes.set_title(stop, fontsize=10)
        canvas.plain(axes)
        _unknown_axis(axes, table["percent_unknown"])
    panels[0].set_ylabel(f"{canvas.SPLIT_NAMES[split]} accuracy (%)")
    canvas.legend_below(figure, panels[0], 2)
    return figure


def fitted_figure(table: pd.DataFrame, bounds: pd.DataFrame | None = None) -> Figure:
    """F4: a bar per mixture, the whole of D: Known and Unknown, each split in fitted and not fitted at EARLY_STOP.

    Args:
      table: of `curves.fitted_at_early_stop`; several seeds are drawn as their mean.
      bounds: of `fitting.fitted_shares`: the intervals of the fitted parts, drawn at their ends.
    """
    means = table.groupby(["percent_unknown", "group"])[["fitted", "not_fitted"]].mean()
    percents = sorted(set(table["percent_unknown"]))
    figure, axes = canvas.single(7.6, 1.6 + 0.5 * len(percents))
    colours = {"Known": palette.KNOWN_COLOUR, "Unknown": palette.CATEGORY_COLOURS["Unknown"]}
    handles = []
    for group, colour in colours.items():
        for part, look in (
            ("fitted", {"facecolor": colour, "edgecolor": colour}),
            ("not_fitted", {"facecolor": "white", "edgecolor": colour, "hatch": "////"}),
        ):
            handles.append(Patch(label=f"{group}, {part.replace('_', ' ')}", **look))
            for row, percent in enumerate(percents):
                width = means.loc[(percent, group), part] if (percent, group) in means.index else 0.0
                if width:
                    bar = axes.barh(row, width, left=_left(means.loc[percent], group, part), height=0.68, **look)
                    bar[0].set_gid(f"{percent} {group} {part}")
                    if width >= 6:
                        # White boxes keep numbers readable on the hatching.
                        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if part == "not_fitted" else None
                        dark = part == "not_fitted" or group == "Unknown"
                        axes.bar_label(
                            bar, [f"{width:.0f}"], label_type="center", fontsize=9,
                            color="black" if dark else "white", bbox=box,
                        )  # fmt: skip
    for row, percent in enumerate(percents):
        here = bounds[bounds["percent_unknown"] == percent] if bounds is not None else pd.DataFrame()
        for one in here.itertuples():
            left = _left(means.loc[percent], one.group, "fitted")
            axes.hlines(row + 0.43, left + one.low, left + one.high, color="black", linewidth=1.4)
            axes.plot([left + one.low, left + one.high], [row + 0.43] * 2, "|", color="black", markersize=5)
    axes.set_yticks(range(len(percents)), [f"{percent} %" for percent in percents])
    axes.set_xlim(0, 100)
    _name_axes(axes, "share of the training examples D at EARLY_STOP (%)", "Unknown in D")
    axes.grid(False)
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=9)
    return figure


def coefficients_figure(table: pd.DataFrame) -> Figure:
    """T1: the coefficients of fitted Known and Unknown examples, in points, a line per test set and kind.

    Args:
      table: of `regression.table_one`.
    """
    figure, axes = canvas.single(7.6, 1.4 + 0.42 * 2 * len(table))
    lines = [(row, name, group) for row in table.to_dict("records") for name, group in COEFFICIENTS.items()]
    for place, (row, name, group) in enumerate(lines):
        colour = palette.KNOWN_COLOUR if group == "Known" else palette.CATEGORY_COLOURS[group]
        label = f"{group}, here" if place < len(COEFFICIENTS) else None  # in the legend once
        axes.hlines(place, row[f"{name}_low"], row[f"{name}_high"], color=colour, linewidth=1.8)
        axes.plot(row[name], place, "o" if group == "Known" else "D", color=colour, label=label)
    published = [row[f"paper_{name}"] for row, name, _ in lines]
    axes.plot(published, range(len(lines)), "x", color=palette.STOP_COLOUR, markeredgewidth=1.6, label="published")
    axes.axvline(0, color="black", linewidth=0.9, zorder=1)
    names = [f"{group} fitted, {canvas.SPLIT_NAMES[row['split']]}" for row, _, group in lines]
    axes.set_yticks(range(len(lines)), names)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.7)
    _name_axes(axes, "change of accuracy when all of D is fitted (points)", "")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)
    return figure


def _bounds(bounds: pd.DataFrame | None, data: str, stop: str) -> pd.DataFrame | None:
    """The intervals of a line: None, to be drawn within the range of its seeds, where there are no intervals at all."""
    return None if bounds is None else bounds[(bounds["data"] == data) & (bounds["stop"] == stop)]


def _unknown_axis(axes: Axes, percents: pd.Series) -> None:
    axes.set_xlabel("Unknown examples in D (%)")
    axes.set_xticks(sorted(set(percents)))
    axes.margins(x=0.05, y=0.12)


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _left(bars: pd.DataFrame, group: str, part: str) -> float:
    """Where a part of the stacked bar begins: Known fitted, Known not, Unknown fitted, Unknown not."""
    order = [("Known", "fitted"), ("Known", "not_fitted"), ("Unknown", "fitted"), ("Unknown", "not_fitted")]
    before = order[: order.index((group, part))]
    return float(sum(bars.loc[one, piece] for one, piece in before if one in bars.index))
