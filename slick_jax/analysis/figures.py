"""The figures of the study: of the tables of `curves` (paper figures 1, 3, 4 and 6), and of the annotation itself."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from slick_jax.analysis import palette
from slick_jax.analysis.curves import DEV
from slick_jax.analysis.runs import STOPS, category_order
from slick_jax.categories import CATEGORIES

DPI = 150
SPLIT_NAMES = {"test": "test", "ood_test": "out-of-distribution test"}
LABELS = {"D": "D: all examples", "D_Known": "D_Known: without the Unknown ones", DEV: "development set"}


def curves_figure(table: pd.DataFrame, early_stops: Sequence[int]) -> Figure:
    """F1/F6: share of fitted training examples per category, and dev accuracy, against epoch.

    Args:
      table: of `curves.by_epoch`; several seeds are drawn as their mean within their range.
      early_stops: EARLY_STOP of every seed that has one; each is marked.
    """
    figure, axes = _figure(7.6, 4.4)
    for name in [*category_order(table["curve"].tolist()), DEV]:
        points = table[table["curve"] == name]
        if not points.empty:
            label = LABELS.get(name, f"train, {name}")
            _line(axes, points, "epoch", palette.CURVE_STYLES[name], label)
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
    _legend(axes)
    return figure


def budgets_figure(table: pd.DataFrame, split: str, convergence: int | None) -> Figure:
    """F3a (F7 out of distribution): accuracy on `split` against % Unknown, a line per epoch budget and EARLY_STOP.

    Args:
      table: of `curves.by_budget`.
      convergence: the last epoch of every run, named so in the legend; None where runs differ.
    """
    figure, axes = _figure(7.6, 4.4)
    budgets = sorted({name for name in table["budget"] if name != "EARLY_STOP"}, key=int)
    for name, style in {**palette.budget_styles(budgets), "EARLY_STOP": palette.CURVE_STYLES["EARLY_STOP"]}.items():
        label = f"epoch {name}" if name.isdecimal() else name
        label += " (CONVERGENCE)" if name == str(convergence) else ""
        points = table[table["budget"] == name]
        if not points.empty:
            _line(axes, points, "percent_unknown", style, label)
    _unknown_axis(axes, table["percent_unknown"])
    axes.set_ylabel(f"{SPLIT_NAMES[split]} accuracy (%)")
    _legend(axes)
    return figure


def ablation_figure(table: pd.DataFrame, split: str) -> Figure:
    """F3b: accuracy on `split` of D against D_Known, at both stopping points side by side on one scale.

    Args:
      table: of `curves.ablation`.
    """
    figure = _canvas(9.2, 4.0)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, stop in zip(panels, STOPS, strict=True):
        for data in ("D", "D_Known"):
            points = table[(table["stop"] == stop) & (table["data"] == data)]
            if not points.empty:
                _line(axes, points, "percent_unknown", palette.CURVE_STYLES[data], LABELS[data])
        axes.set_title(stop, fontsize=10)
        _plain(axes)
        _unknown_axis(axes, table["percent_unknown"])
    panels[0].set_ylabel(f"{SPLIT_NAMES[split]} accuracy (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def fitted_figure(table: pd.DataFrame) -> Figure:
    """F4: a bar per mixture, the whole of D: Known and Unknown, each split in fitted and not fitted at EARLY_STOP.

    Args:
      table: of `curves.fitted_at_early_stop`; several seeds are drawn as their mean.
    """
    means = table.groupby(["percent_unknown", "group"])[["fitted", "not_fitted"]].mean()
    percents = sorted(set(table["percent_unknown"]))
    figure, axes = _figure(7.6, 1.6 + 0.5 * len(percents))
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
    axes.set_yticks(range(len(percents)), [f"{percent} %" for percent in percents])
    axes.set_xlim(0, 100)
    _name_axes(axes, "share of the training examples D at EARLY_STOP (%)", "Unknown in D")
    axes.grid(False)
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=9)
    return figure


def saturation_figure(table: pd.DataFrame) -> Figure:
    """Category shares against the number of exemplar sets (left) and of samples (right), the other at the run's number.

    Args:
      table: of `knowledge.saturation.saturation`.
    """
    figure = _canvas(9.2, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    names = {"n_exemplar_sets": "exemplar sets (N_ex)", "n_samples": "samples behind each set (N_sample)"}
    for axes, (along, other) in zip(panels, (tuple(names), tuple(names)[::-1]), strict=True):
        most = table[other].max()
        points = table[table[other] == most].sort_values(along)
        for name in CATEGORIES:
            look = {"markersize": 4.5, "linewidth": 1.8, **palette.CURVE_STYLES[name]}
            axes.plot(points[along], points[name], label=name, clip_on=False, **look)
        axes.set_title(f"with {most} {names[other]}", fontsize=10)
        axes.set_xlabel(f"number of {names[along]}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        _plain(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("share of the questions (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures are equal bytes."""
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=DPI, metadata={"Software": None})
    return sink.getvalue()


def _canvas(width: float, height: float) -> Figure:
    """An empty figure of width x height inches, outside pyplot: nothing global, no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)  # inches
    FigureCanvasAgg(figure)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _canvas(width, height)
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)


def _line(axes: Axes, points: pd.DataFrame, x: str, style: dict, label: str) -> None:
    """The mean over seeds against column `x`, and the range of the seeds where there are several."""
    seeds = points.groupby(x)["accuracy"].agg(["mean", "min", "max"])
    look = {"markersize": 4.5, "linewidth": 1.8, **style}
    if len(seeds) == 1:
        look["marker"] = style["marker"] or "x"  # a single point is no line
    axes.plot(seeds.index, seeds["mean"], label=label, markevery=max(1, len(seeds) // 20), **look)
    if points["seed"].nunique() > 1:
        axes.fill_between(seeds.index, seeds["min"], seeds["max"], color=style["color"], alpha=0.15, linewidth=0)


def _unknown_axis(axes: Axes, percents: pd.Series) -> None:
    axes.set_xlabel("Unknown examples in D (%)")
    axes.set_xticks(sorted(set(percents)))
    axes.margins(x=0.05, y=0.12)


def _name_axes(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)


def _left(bars: pd.DataFrame, group: str, part: str) -> float:
    """Where a part of the stacked bar begins: Known fitted, Known not, Unknown fitted, Unknown not."""
    order = [("Known", "fitted"), ("Known", "not_fitted"), ("Unknown", "fitted"), ("Unknown", "not_fitted")]
    before = order[: order.index((group, part))]
    return float(sum(bars.loc[one, piece] for one, piece in before if one in bars.index))
