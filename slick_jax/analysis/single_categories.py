"""T2 and T7: what a category alone teaches; accuracy whole and per category, with the paper's test of significance."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slick_jax.analysis import significance
from slick_jax.analysis.evidence import Evidence
from slick_jax.categories import CATEGORIES
from slick_jax.epochs import STOPS

VARIANTS = {  # in the paper's order and by its names
    "only_HighlyKnown": "D_HighlyKnown",
    "only_MaybeKnown": "D_MaybeKnown",
    "only_WeaklyKnown": "D_WeaklyKnown",
    "unknown_100": "D_Unknown",
    "natural": "D_Natural",
}
SUBSETS = ("Full", *CATEGORIES)
PUBLISHED = {  # paper table 2, PaLM 2-M on EntityQuestions: percent, in the order of SUBSETS
    "EARLY_STOP": {
        "D_HighlyKnown": (40.5, 98.7, 60.1, 9.0, 0.6),
        "D_MaybeKnown": (43.6, 98.4, 69.9, 12.1, 1.0),
        "D_WeaklyKnown": (39.2, 95.0, 59.2, 8.6, 0.4),
        "D_Unknown": (37.5, 95.6, 52.9, 6.5, 0.6),
        "D_Natural": (43.5, 98.0, 67.6, 14.1, 1.8),
    },
    "CONVERGENCE": {
        "D_HighlyKnown": (40.0, 98.4, 58.8, 8.5, 0.7),
        "D_MaybeKnown": (43.2, 97.5, 68.2, 12.9, 1.3),
        "D_WeaklyKnown": (35.4, 73.5, 55.8, 17.2, 2.2),
        "D_Unknown": (25.8, 55.8, 36.6, 12.2, 3.2),
        "D_Natural": (41.8, 95.5, 61.7, 14.8, 2.5),
    },
}
COLUMNS = (
    "variant", "stop", "subset", "n", "seeds", "accuracy", "low", "high", "best", "p_best", "stars", "behind_best",
    "behind_low", "behind_high", "p_stops", "stars_stops", "lost", "lost_low", "lost_high", "paper",
)  # fmt: skip


def table_two(evidence: Evidence, split: str = "test") -> tuple[pd.DataFrame, list[str]]:
    """A row per variant, stopping point and subset of the test questions (Full, or a category).

    Every variant is averaged over the seeds that all of them have.

    Returns:
      the table, and what is missing. accuracy with its interval low..high is in percent. best: whether it is the
      highest of its column (subset and stopping point); p_best and stars: by the paired t-test against that one (paper
      appendix I); behind_best with its interval: the difference from it in points by the paired bootstrap; p_stops,
      stars_stops, lost: EARLY_STOP against CONVERGENCE within the row likewise (lost: EARLY_STOP minus CONVERGENCE,
      on the rows of EARLY_STOP); paper: the published accuracy.
    """
    there = [name for name in VARIANTS if evidence.has(split, name)]
    missing = [name for name in VARIANTS if name not in there]
    said = [f"T2/T7: no finished {', '.join(missing)} with answers at both stopping points"] if missing else []
    seeds = evidence.outcomes[split].seeds(*there) if there else ()
    if len(there) < 2 or not seeds:
        return pd.DataFrame(columns=COLUMNS), said or ["T2/T7: no seed that all single-category variants share"]
    rows = []
    for place, subset in enumerate(SUBSETS):
        mask = evidence.outcomes[split].mask(None if subset == "Full" else subset)
        if not mask.any():
            said.append(f"T2/T7: no {subset} questions in {split}")
            continue
        rows += _column(evidence, split, there, seeds, subset, mask, place)
    return pd.DataFrame(rows, columns=COLUMNS), said


def _column(evidence: Evidence, split: str, there: list[str], seeds: tuple, subset: str, mask: np.ndarray, place: int):
    """The rows of one subset, at both stopping points."""
    category = None if subset == "Full" else subset
    rows, outcomes = [], evidence.outcomes[split]
    cut = significance.parts(int(mask.sum()))
    hits = {(name, stop): outcomes.of(name, stop, seeds)[:, mask] for name in there for stop in STOPS}
    by_part = {key: significance.accuracy_by_part(of, cut) for key, of in hits.items()}
    found = {key: evidence.accuracy(split, *key, category, seeds) for key in hits}
    for stop in STOPS:
        best, p_best = significance.against_best({name: hits[name, stop] for name in there})
        for name in there:
            one = found[name, stop]
            behind = one - found[best, stop]
            p = p_best.get(name, float("nan"))
            p_stops = significance.paired(*(by_part[name, at] for at in STOPS))
            lost = found[name, STOPS[0]] - found[name, STOPS[1]]
            within = (p_stops, significance.stars(p_stops), lost.value, lost.low, lost.high)
            rows.append((
                VARIANTS[name], stop, subset, int(mask.sum()), len(seeds), one.value, one.low, one.high, name == best,
                p, significance.stars(p), behind.value, behind.low, behind.high,
                *(within if stop == STOPS[0] else (float("nan"), "", *[float("nan")] * 3)),
                PUBLISHED[stop][VARIANTS[name]][place],
            ))  # fmt: skip
    return rows


def as_printed(table: pd.DataFrame, stop: str) -> pd.DataFrame:
    """Table 2 as the paper prints it: a row per variant, accuracy with stars and interval in a column per subset."""
    here = table[table["stop"] == stop]
    cells = [f"{row.accuracy:.1f}{row.stars} [{row.low:.1f}, {row.high:.1f}]" for row in here.itertuples()]
    return _grid(here, cells)


def lost_as_printed(table: pd.DataFrame) -> pd.DataFrame:
    """EARLY_STOP minus CONVERGENCE in points, with stars of its own test and interval: a row per variant."""
    here = table[table["stop"] == STOPS[0]]
    rows = here.itertuples()
    cells = [f"{one.lost:+.1f}{one.stars_stops} [{one.lost_low:+.1f}, {one.lost_high:+.1f}]" for one in rows]
    return _grid(here, cells)


def _grid(rows: pd.DataFrame, cells: list[str]) -> pd.DataFrame:
    """Variants down, subsets across, in the paper's order."""
    subsets = [name for name in SUBSETS if name in set(rows["subset"])]
    shown = rows.assign(cell=cells).pivot(index="variant", columns="subset", values="cell")
    order = [name for name in VARIANTS.values() if name in shown.index]
    return shown.loc[order, subsets].reset_index().rename_axis(columns=None)
