"""The neighbouring recipes against D(X %): the same examples, taught in another way or among others."""

from __future__ import annotations

import pandas as pd

from slick_jax.analysis.bootstrap import Estimate
from slick_jax.analysis.evidence import Evidence
from slick_jax.data import recipes
from slick_jax.epochs import STOPS

SHOWN = ("sure", "patch", "replay", "upweight")  # D_IDK has T8, the others are the paper's own
COLUMNS = ("variant", "split", "stop", "seeds", "accuracy", "low", "high", "more", "more_low", "more_high")
ENDINGS = ("variant", "split", "stop", "ending", "seeds", "share", "share_low", "share_high", "right", "right_low",
           "right_high")  # fmt: skip


def against_mixtures(evidence: Evidence) -> pd.DataFrame:
    """COLUMNS: accuracy (%) of each recipe, and its points more than unknown_X of equal seeds (NaN without these)."""
    rows = []
    for split, outcomes in evidence.outcomes.items():
        for variant, base in _variants(evidence):
            for stop in STOPS:
                seeds = outcomes.seeds(variant, stops=[stop])
                both = outcomes.seeds(variant, base, stops=[stop])
                if not seeds:
                    continue
                found = evidence.accuracy(split, variant, stop, seeds=seeds)
                more = [float("nan")] * 3
                if both:
                    more = _numbers(
                        evidence.accuracy(split, variant, stop, seeds=both)
                        - evidence.accuracy(split, base, stop, seeds=both)
                    )
                rows.append((variant, split, stop, len(seeds), *_numbers(found), *more))
    return pd.DataFrame(rows, columns=COLUMNS)


def endings(evidence: Evidence) -> pd.DataFrame:
    """ENDINGS: of the mixtures that teach endings, how often each was written ('': none), and how many of the answers
    before it are right (%)."""
    runs = {(run.variant, run.seed): run.answers for run in evidence.study.runs if run.answers is not None}
    rows = []
    for split, outcomes in evidence.outcomes.items():
        for variant in dict.fromkeys(name for name, _ in runs):
            for stop in STOPS:
                seeds = outcomes.seeds(variant, stops=[stop])
                tables = [_asked(runs[variant, seed], split, stop) for seed in seeds]
                taught = sorted({ending for table in tables for ending in table.get("ending", pd.Series()).unique()})
                if not any(taught):
                    continue
                hits = outcomes.of(variant, stop, seeds)
                for ending in taught:
                    written = pd.concat([table["ending"] == ending for table in tables], axis=1).to_numpy().T
                    share = evidence.resamplers[split].ratio(seeds, written, outcomes.mask(None))
                    right = evidence.resamplers[split].ratio(seeds, hits & written, written)
                    rows.append((variant, split, stop, ending, len(seeds), *_numbers(share), *_numbers(right)))
    return pd.DataFrame(rows, columns=ENDINGS)


def _variants(evidence: Evidence) -> list[tuple[str, str]]:
    """(variant, unknown_X) of the recipes that were run."""
    found = []
    for name in dict.fromkeys(run.variant for run in evidence.study.runs):
        recipe, _, percent = name.rpartition("_")
        if recipe in SHOWN:
            found.append((name, recipes.join("unknown", percent)))
    return found


def _asked(answers: pd.DataFrame, split: str, stop: str) -> pd.DataFrame:
    """The rows of a split at a stop in the order of `Outcomes`."""
    here = answers[(answers["split"] == split) & (answers["stop"] == stop)]
    return here.sort_values("id", ignore_index=True)


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
