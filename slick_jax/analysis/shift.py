"""Category shift: what the tuned model knows when annotated again, what it forgot and what it gained, and refusals."""

from __future__ import annotations

import pandas as pd

from slick_jax.analysis.bootstrap import Resampler
from slick_jax.analysis.runs import Study, TrainingRun
from slick_jax.categories import CATEGORIES, UNKNOWN
from slick_jax.epochs import STOPS

RANK = {name: len(CATEGORIES) - place for place, name in enumerate(CATEGORIES)}  # HighlyKnown highest
MEASURES = {
    "forgotten": "of the Known questions, now Unknown",
    "lower": "of the Known questions, now in a lower category",
    "gained": "of the Unknown questions, now Known",
    "higher": "of the questions below HighlyKnown, now in a higher category",
    "refused": "of all greedy answers, refusals",
}
NEEDS = "category shift: no shift-<stop>/annotations.parquet of a finished run; run `slick study` with study.shift=all"


def pairs(study: Study, run: TrainingRun, stop: str) -> pd.DataFrame:
    """Of a run's annotated questions: id, split, relation, before, after (categories), and refused where told."""
    again = run.shifted[stop]
    first = study.annotations.drop_duplicates("id").set_index("id")["category"]
    table = again.assign(before=again["id"].map(first)).rename(columns={"category": "after"})
    table = table.rename(columns={"abstained_greedy": "refused"})
    return table.dropna(subset=["before"]).sort_values(["split", "id"], ignore_index=True)


def matrices(study: Study) -> pd.DataFrame:
    """variant, stop, split, before, after, questions (mean over seeds) and share (percent of `before`)."""
    rows = []
    for (variant, stop, split), tables in _grouped(study).items():
        counts = sum(pd.crosstab(table["before"], table["after"]).reindex(
            index=list(CATEGORIES), columns=list(CATEGORIES), fill_value=0) for table in tables.values())  # fmt: skip
        counts = counts / len(tables)
        for before in CATEGORIES:
            total = counts.loc[before].sum()
            for after in CATEGORIES:
                n = counts.loc[before, after]
                rows.append((variant, stop, split, before, after, n, 100 * n / total if total else float("nan")))
    columns = ["variant", "stop", "split", "before", "after", "questions", "share"]
    return pd.DataFrame(rows, columns=columns)


def summary(study: Study) -> pd.DataFrame:
    """variant, stop, split, seeds, measure (of MEASURES), share (percent), low, high."""
    rows, resamplers = [], {}
    for (variant, stop, split), tables in _grouped(study).items():
        common = sorted(set.intersection(*(set(table["id"]) for table in tables.values())))
        if not common:
            continue
        ordered = [table.set_index("id").loc[common] for table in tables.values()]
        # One table under the other has every seed's questions in the same order: [S N].
        whole, shape = pd.concat(ordered), (len(ordered), len(common))
        before, after = whole["before"].map(RANK).to_numpy(), whole["after"].map(RANK).to_numpy()
        lowest, highest = RANK[UNKNOWN], max(RANK.values())
        known = before > lowest
        found = {
            "forgotten": (known & (after == lowest), known),
            "lower": (known & (after < before), known),
            "gained": (~known & (after > lowest), ~known),
            "higher": (after > before, before < highest),
        }
        if "refused" in whole and whole["refused"].notna().all():
            found["refused"] = whole["refused"].to_numpy(float), known | True
        resampler = resamplers.setdefault(len(common), Resampler(len(common)))
        for measure, (top, bottom) in found.items():
            of = resampler.ratio(tuple(tables), top.reshape(shape), bottom.reshape(shape))
            rows.append((variant, stop, split, len(tables), measure, of.value, of.low, of.high))
    return pd.DataFrame(rows, columns=["variant", "stop", "split", "seeds", "measure", "share", "low", "high"])


def _grouped(study: Study) -> dict[tuple[str, str, str], dict[int, pd.DataFrame]]:
    """`pairs` by variant, stop and split, then by seed."""
    found: dict[tuple[str, str, str], dict[int, pd.DataFrame]] = {}
    for run in study.runs if study.annotations is not None else ():
        for stop in STOPS:
            if stop in run.shifted:
                for split, rows in pairs(study, run, stop).groupby("split", sort=False):
                    found.setdefault((run.variant, stop, str(split)), {})[run.seed] = rows
    return found
