"""One look for every figure: a colour per category, told apart by colour-blind readers and in grey."""

from __future__ import annotations

CATEGORY_COLOURS = {
    "HighlyKnown": "#0B2559",  # navy, the darkest
    "MaybeKnown": "#1F6FC4",  # blue
    "WeaklyKnown": "#8CCBF0",  # pale blue, the lightest
    "Unknown": "#E27808",  # orange: the only warm one
}
KNOWN_COLOUR = "#0E5C4A"  # the three known categories together
DEV_COLOUR = "#000000"
STOP_COLOUR = "#7A7A7A"

# Curves differ in dash and marker, too, so that none rests on its colour alone.
CURVE_STYLES = {
    "HighlyKnown": {"color": CATEGORY_COLOURS["HighlyKnown"], "marker": "o", "linestyle": "-"},
    "MaybeKnown": {"color": CATEGORY_COLOURS["MaybeKnown"], "marker": "s", "linestyle": "-"},
    "WeaklyKnown": {"color": CATEGORY_COLOURS["WeaklyKnown"], "marker": "^", "linestyle": "-"},
    "Unknown": {"color": CATEGORY_COLOURS["Unknown"], "marker": "D", "linestyle": "-"},
    "dev": {"color": DEV_COLOUR, "marker": "", "linestyle": (0, (5, 2))},
    "all": {"color": "#000000", "marker": "P", "linestyle": "-"},
    "D": {"color": "#000000", "marker": "D", "linestyle": "-"},
    "D_Known": {"color": KNOWN_COLOUR, "marker": "o", "linestyle": (0, (5, 2))},
    "EARLY_STOP": {"color": "#000000", "marker": "*", "markersize": 9, "linestyle": (0, (5, 2)), "zorder": 5},
}
MEASURE_STYLES = {
    "SliCK": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "P(True)": {"color": "#A3376B", "linestyle": (0, (5, 2))},  # of no category
}
# Arms of the long-form study: the source gives hue and dash, the filter the marker; lightness differs within a source.
_OWN, _GOLD = "-", (0, (4, 2))
ARM_STYLES = {
    "BASE": {"color": "#7A7A7A", "marker": "x", "linestyle": ":"},
    "GOLD": {"color": "#6B3300", "marker": "o", "linestyle": _GOLD},
    "GOLD+SELF": {"color": "#D9720B", "marker": "s", "linestyle": _GOLD},
    "GOLD+RANDOM": {"color": "#F3C48F", "marker": "v", "linestyle": _GOLD},
    "GEN": {"color": "#7FA3C7", "marker": "o", "linestyle": _OWN},
    "GEN+GOLD": {"color": "#1F6FC4", "marker": "D", "linestyle": _OWN},
    "GEN+SELF": {"color": "#0B2559", "marker": "s", "linestyle": _OWN},
    "GEN+RANDOM": {"color": "#B9D9F2", "marker": "v", "linestyle": _OWN},
}
SCORER_STYLES = {
    "probe": {"color": "#0B2559", "marker": "o", "linestyle": "-"},
    "p_true": {"color": "#A3376B", "marker": "D", "linestyle": (0, (5, 2))},
    "consistency": {"color": "#0E8F6E", "marker": "s", "linestyle": "-."},
    "logprob": {"color": "#B9A53A", "marker": "^", "linestyle": ":"},
}
SUPPORTED_COLOUR, UNSUPPORTED_COLOUR = KNOWN_COLOUR, CATEGORY_COLOURS["Unknown"]

BUDGET_MARKERS = ("o", "s", "^", "D", "v")
BUDGET_COLOURS = ("#C9B8D9", "#A98BC4", "#8760A8", "#653A87", "#43185F")  # violets, darker with longer training


def budget_styles(budgets: list[str]) -> dict[str, dict]:
    """A style per epoch budget, shortest first; at most as many as there are BUDGET_COLOURS."""
    colours = BUDGET_COLOURS[-len(budgets) :] if budgets else ()
    return {
        budget: {"color": colour, "marker": marker, "linestyle": "-"}
        for budget, colour, marker in zip(budgets, colours, BUDGET_MARKERS, strict=False)
    }
