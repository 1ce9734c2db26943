"""The figures of the measures themselves: saturation of SliCK, and what tells Unknown best (paper figure 5)."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slick_jax.analysis import canvas, palette
from slick_jax.categories import CATEGORIES


def saturation_figure(table: pd.DataFrame) -> Figure:
    """Category shares against the number of exemplar sets (left) and of samples (right), the other at the run's number.

    Args:
      table: of `knowledge.saturation.saturation`.
    """
    figure = canvas.empty(9.2, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    names = {"n_exemplar_sets": "exemplar sets (N_ex)", "n_samples": "samples behind each set (N_sample)"}
    for axes, (along, other) in zip(panels, (tuple(names), tuple(names)[::-1]), strict=True):
        most = table[other].max()
        points = table[table[other] == most].sort_values(along)
        for name in CATEGORIES:
            look = {**canvas.LOOK, **palette.CURVE_STYLES[name]}
            axes.plot(points[along], points[name], label=name, clip_on=False, **look)
        axes.set_title(f"with {most} {names[other]}", fontsize=10)
        axes.set_xlabel(f"number of {names[along]}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        canvas.plain(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("share of the questions (%)")
    canvas.legend_below(figure, panels[0], 4)
    return figure


def unknown_tests_figure(table: pd.DataFrame, natural: float) -> Figure:
    """F5: accuracy after fine-tuning on what a measure calls Unknown, against how much it calls so; lower is better.

    Args:
      table: of `unknown_tests.figure_five`.
      natural: accuracy on all questions, percent: where every measure ends that calls all of them Unknown.
    """
    figure, axes = canvas.single(7.6, 4.6)
    below, slick = (table[table["method"] == name] for name in ("P(True)", "SliCK"))
    if len(below):
        style = palette.MEASURE_STYLES["P(True)"]
        axes.plot(below["share"], below["accuracy"], label="P(True) < t, every t", linewidth=1.8, **style)
        wide = below[below["share"] >= 2]  # of very few questions the interval is the whole axis
        axes.fill_between(wide["share"], wide["low"], wide["high"], color=style["color"], alpha=0.18, linewidth=0)
    if len(slick):
        style = palette.MEASURE_STYLES["SliCK"]
        look = {**canvas.LOOK, **style, "clip_on": False, "zorder": 4}  # points at zero stay whole
        axes.plot(slick["share"], slick["accuracy"], label="SliCK, N_ex exemplar sets", **look)
        canvas.whiskers(axes, slick["share"], slick["low"], slick["high"], style["color"])
        ends = ((slick.iloc[0], "left"), (slick.iloc[-1], "right"))
        for one, side in ends[-1:] if len(slick) == 1 else ends:
            axes.annotate(
                f"N_ex = {one['setting']:.0f}", (one["share"], one["accuracy"]), (7 if side == "left" else -7, 0),
                textcoords="offset points", ha=side, va="center" if one["accuracy"] > 1 else "bottom", fontsize=9,
            )  # fmt: skip
    axes.axhline(natural, color=palette.STOP_COLOUR, linestyle=":", linewidth=1.2, label="all test questions")
    axes.set_xlabel("test questions called Unknown (%)")
    axes.set_ylabel("their accuracy after fine-tuning (%)")
    axes.set_xlim(0, 100)
    # The first few thresholds of P(True) rest on a handful of questions; they must not set the scale.
    steady = below[below["share"] >= 5]
    top = max([natural, *slick["high"], *steady["high"]])
    axes.set_ylim(0, min(100, 1.15 * top) or 1)
    canvas.legend(axes)
    return figure
