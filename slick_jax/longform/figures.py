"""The figures of the long-form report, of the tables of `score_tables` and of belief; an arm looks the same in all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from slick_jax.analysis import canvas, palette
from slick_jax.longform.arms import BASE, NAMES

CELLS = {  # of the table supported x believed: label, colour, hatch
    "supported_believed": ("true, believed", palette.SUPPORTED_COLOUR, ""),
    "supported_disbelieved": ("true, not believed", palette.SUPPORTED_COLOUR, "////"),
    "unsupported_disbelieved": ("false, not believed", palette.UNSUPPORTED_COLOUR, "////"),
    "unsupported_believed": ("false, believed", palette.UNSUPPORTED_COLOUR, ""),
}


def by_arm_figure(table: pd.DataFrame, metric: str = "precision") -> Figure:
    """A panel per domain: the metric of every arm with its interval; the dotted line is BASE.

    Args:
      table: of `score_tables.by_arm`.
    """
    table = table[table["metric"] == metric]
    arms = [name for name in NAMES if name in set(table["arm"])]
    figure, panels = _panels(table, 3.3, 1.4 + 0.33 * len(arms), sharex=True, sharey=True)
    for axes, rows in panels.items():
        for row in rows.itertuples():
            style, place = palette.ARM_STYLES[row.arm], arms.index(row.arm)
            axes.hlines(place, row.low, row.high, color=style["color"], linewidth=2.4)
            axes.plot(row.value, place, color=style["color"], marker=style["marker"], markersize=7, linestyle="",
                      markeredgecolor=_edge(style))  # fmt: skip
            if row.arm == BASE:
                axes.axvline(row.value, color=style["color"], linestyle=":", linewidth=1.1, zorder=0)
        axes.set_xlabel("precision of an answer (%)")
        axes.grid(axis="x", color="#E3E3E3", linewidth=0.7)
        axes.set_yticks(range(len(arms)), arms)
        axes.set_ylim(len(arms) - 0.4, -0.6)
    next(iter(panels)).set_ylabel("arm (source + filter)")
    return figure


def volume_figure(table: pd.DataFrame) -> Figure:
    """A panel per domain: unsupported against supported claims per answer, with lines of equal precision.

    Args:
      table: of `score_tables.by_arm`.
    """
    values = ["value", "low", "high"]
    wide = table.pivot_table(index=["domain", "arm"], columns="metric", values=values, sort=False).reset_index()
    figure, panels = _panels(wide, 3.3, 4.0)
    for axes, rows in panels.items():
        ends = rows["high"].fillna(rows["value"])
        x, y = (1.12 * ends[name].max() or 1.0 for name in ("supported", "unsupported"))
        for percent in (20, 40, 60, 80):
            slope = (100 - percent) / percent
            end = min(x, y / slope)
            axes.plot([0, end], [0, end * slope], color="#BBBBBB", linewidth=0.8, zorder=0)
            axes.annotate(f"{percent} %", (end, end * slope), fontsize=7.5, color="#777777", ha="right",
                          va="top" if end < x else "bottom")  # fmt: skip
        for _, row in rows.iterrows():
            style = palette.ARM_STYLES[row["arm", ""]]
            at = row["value", "supported"], row["value", "unsupported"]
            axes.hlines(at[1], row["low", "supported"], row["high", "supported"], color=style["color"], linewidth=1.4)
            axes.vlines(at[0], row["low", "unsupported"], row["high", "unsupported"], color=style["color"],
                        linewidth=1.4)  # fmt: skip
            axes.plot(*at, color=style["color"], marker=style["marker"], linestyle="", label=row["arm", ""],
                      markeredgecolor=_edge(style))  # fmt: skip
        axes.set_xlim(0, x)
        axes.set_ylim(0, y)
        axes.set_xlabel("supported claims per answer")
    next(iter(panels)).set_ylabel("unsupported claims per answer")
    _legend(figure, panels, NAMES)
    return figure


def knowledge_figure(table: pd.DataFrame, metric: str = "precision") -> Figure:
    """A panel per domain: the metric of every arm on groups of entities, the least known on the left.

    Args:
      table: of `score_tables.by_knowledge`.
    """
    table = table[table["metric"] == metric]
    arms = [name for name in NAMES if name in set(table["arm"])]
    figure, panels = _panels(table, 3.5, 4.0, sharey=True)
    for axes, rows in panels.items():
        for place, arm in enumerate(arms):
            own, style = rows[rows["arm"] == arm].sort_values("order"), palette.ARM_STYLES[arm]
            x = own["order"] + 0.06 * (place - (len(arms) - 1) / 2)
            axes.vlines(x, own["low"], own["high"], color=style["color"], linewidth=1.0)
            axes.plot(x, own["value"], label=arm, markersize=4.5, linewidth=1.4, markeredgecolor=_edge(style), **style)
        groups = rows.drop_duplicates("order").sort_values("order")
        labels = [f"{row.group}\n(n = {row.entities})" for row in groups.itertuples()]
        axes.set_xticks(groups["order"], labels, fontsize=8.5)
        by = rows["by"].iloc[0]
        axes.set_xlabel("exposure (times told in pretraining)" if by == "exposure" else f"entities by {by}")
    next(iter(panels)).set_ylabel("precision of an answer (%)")
    _legend(figure, panels, NAMES)
    return figure


def transfer_figure(table: pd.DataFrame) -> Figure:
    """A panel per arm: precision on the domain of the column after training on the domain of the row.

    Args:
      table: of `score_tables.transfer`.
    """
    arms = [name for name in NAMES if name in set(table["arm"])]
    tested = list(dict.fromkeys(table["domain"]))
    trained = [name for name in dict.fromkeys(table["trained_on"]) if name]
    columns = min(4, len(arms))
    lines = math.ceil(len(arms) / columns)
    figure = canvas.empty(1.2 + 2.3 * columns, 0.8 + lines * (0.9 + 0.42 * len(trained)))
    grid = figure.subplots(lines, columns, squeeze=False)
    low, high = table["value"].min(), table["value"].max()
    for axes in grid.flat[len(arms) :]:
        axes.set_axis_off()
    for axes, arm in zip(grid.flat, arms, strict=False):
        names = ["(not tuned)"] if arm == BASE else trained
        rows = table[table["arm"] == arm].assign(trained_on=lambda t: t["trained_on"].replace("", "(not tuned)"))
        values = rows.pivot_table(index="trained_on", columns="domain", values="value").reindex(names, columns=tested)
        image = axes.imshow(values, cmap="Greys", vmin=low - 1, vmax=high + (high - low) * 0.3 + 1, aspect="auto")
        for (i, j), value in ((at, values.iloc[at]) for at in _places(values)):
            dark = not pd.isna(value) and image.norm(value) > 0.55
            text = "–" if pd.isna(value) else f"{value:.0f}"
            own = names[i] == tested[j]
            axes.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if dark else "black",
                      fontweight="bold" if own else "normal")  # fmt: skip
        style = palette.ARM_STYLES[arm]
        axes.set_title(arm, fontsize=10)
        axes.spines[:].set_color(style["color"])
        axes.spines[:].set_linewidth(2)
        axes.set_xticks(range(len(tested)), tested, fontsize=8, rotation=20, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.tick_params(length=0)
    figure.supxlabel("tested on: precision of an answer (%)", fontsize=10)
    figure.supylabel("trained on", fontsize=10)
    return figure


def reliability_figure(table: pd.DataFrame) -> Figure:
    """A panel per domain: share of supported claims against belief, a line per scorer; the diagonal is calibrated.

    Args:
      table: columns domain, scorer, claims, belief, precision_value, precision_low, precision_high (shares), a row per
        bin with claims; of one source of text.
    """
    figure, panels = _panels(table, 3.3, 3.9, sharey=True)
    for axes, rows in panels.items():
        axes.plot([0, 100], [0, 100], color="#7A7A7A", linewidth=1.0, linestyle=":", label="calibrated")
        for scorer, style in palette.SCORER_STYLES.items():
            own = rows[rows["scorer"] == scorer].sort_values("belief")
            if len(own):
                x, low, high = (100 * own[name] for name in ("belief", "precision_low", "precision_high"))
                axes.vlines(x, low, high, color=style["color"], linewidth=1.0)
                axes.plot(x, 100 * own["precision_value"], label=scorer, markersize=4.5, **style)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 102)
        axes.set_xlabel("belief in the claim (%)")
    next(iter(panels)).set_ylabel("claims that are supported (%)")
    _legend(figure, panels, ("calibrated", *palette.SCORER_STYLES))
    return figure


def cross_figure(table: pd.DataFrame) -> Figure:
    """Supported x believed: a bar per domain and source of text, the whole of its claims.

    Args:
      table: columns domain, source, measure (the names of CELLS), value (shares).
    """
    parts = table[table["measure"].isin(CELLS)]
    wide = parts.pivot_table(index=["domain", "source"], columns="measure", values="value", sort=False)
    figure, axes = canvas.single(8.2, 1.5 + 0.42 * len(wide))
    left = pd.Series(0.0, wide.index)
    handles = []
    for name, (label, colour, hatch) in CELLS.items():
        widths = 100 * wide[name].fillna(0)
        look = {"facecolor": "white" if hatch else colour, "edgecolor": colour, "hatch": hatch}
        bars = axes.barh(range(len(wide)), widths, left=left, height=0.7, **look)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if hatch else None
        light = hatch or colour == palette.UNSUPPORTED_COLOUR
        axes.bar_label(bars, [f"{width:.0f}" if width >= 5 else "" for width in widths], label_type="center",
                       fontsize=9, color="black" if light else "white", bbox=box)  # fmt: skip
        handles.append(Patch(label=label, **look))
        left += widths
    axes.set_yticks(range(len(wide)), [f"{domain}, {source}" for domain, source in wide.index])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the claims (%)")
    axes.set_ylabel("domain, source of text")
    axes.grid(False)
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=9)
    return figure


def _panels(
    table: pd.DataFrame, width: float, height: float, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, dict[Axes, pd.DataFrame]]:
    """A figure with a panel per domain, named by it, and the rows of each."""
    names = list(dict.fromkeys(table["domain"]))
    figure = canvas.empty(1.2 + width * len(names), height)
    panels = figure.subplots(1, len(names), squeeze=False, sharex=sharex, sharey=sharey)[0]
    for axes, name in zip(panels, names, strict=True):
        axes.set_title(name, fontsize=10)
        canvas.plain(axes)
    return figure, {axes: table[table["domain"] == name] for axes, name in zip(panels, names, strict=True)}


def _edge(style: dict) -> str:
    """Pale markers get a dark edge; a cross has no edge but itself."""
    return style["color"] if style["marker"] == "x" else "#333333"


def _places(values: pd.DataFrame) -> list[tuple[int, int]]:
    return [(i, j) for i in range(values.shape[0]) for j in range(values.shape[1])]


def _legend(figure: Figure, panels: Sequence[Axes], order: Sequence[str]) -> None:
    """Of all panels, in this order, below them."""
    found = {}
    for axes in panels:
        found |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    names = [name for name in order if name in found]
    handles = [found[name] for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
