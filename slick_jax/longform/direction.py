"""The direction test: do the published orderings of the arms hold on this study, at matched length?

Newman et al. 2025 (arXiv 2507.08371): text that the model wrote and believes teaches more factual long answers than
gold text does, in three domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slick_jax.analysis.verdicts import FAILS, HOLDS, OPEN, Effect, absent, measured
from slick_jax.longform.scores import METRICS, Scores
from slick_jax.settings.longform import LongformConfig

BEST, MARGIN = "GEN+SELF", LongformConfig.margin
LEAST = 10  # test entities; resamples of fewer vary too little, and would be clear of zero by chance
CLAIMS = {
    "a": "training on believed own text gives more factual answers than training on gold text (GEN+SELF > GOLD)",
    "b": "it gives at least as factual ones as the other filters do (GEN+SELF >= GEN+GOLD and GOLD+SELF)",
    "c": "what is believed matters, not that there is less of it (GEN+SELF > GEN+RANDOM)",
}


@dataclass(frozen=True)
class AtLeast(Effect):
    """An effect that is claimed not to be below zero: it holds where its interval lies above minus `margin`."""

    margin: float = MARGIN

    @property
    def verdict(self) -> str:
        if np.isnan(self.low) or np.isnan(self.high):
            return OPEN
        return FAILS if self.high < 0 else HOLDS if self.low >= -self.margin else OPEN

    @property
    def sentence(self) -> str:
        words = f"(an interval above -{self.margin:g} is claimed)"
        return super().sentence.replace("(above zero is claimed)", words)


@dataclass(frozen=True)
class Direction:
    """A published ordering, tried on this study; as `verdicts.Finding`, but of a rule of its own.

    rule: when it holds, in words.
    """

    letter: str
    claim: str
    effects: tuple[Effect, ...]
    verdict: str
    rule: str


def directions(
    scores: Scores, lengths: pd.DataFrame | None, *, metric: str = "precision", margin: float = MARGIN,
    tolerance: float = 0.05, measure: str = "tokens",
) -> list[Direction]:  # fmt: skip
    """The three orderings, each with its effects.

    Args:
      lengths: a row per domain and arm with column `measure`: how much each was trained on; None where not known. In a
        domain where two arms differ in it by more than `tolerance`, their comparison cannot tell.
      margin: of (b), in the unit of the metric: what still counts as 'at least'.
    """

    def effect(other: str, domain: str, at_least: bool = False) -> Effect:
        named = f"{domain}: {METRICS[metric].what.split(', gamma')[0]}, {BEST} minus {other}"
        few = len(scores.entities[domain])
        reason = _incomparable(lengths, domain, other, measure, tolerance)
        if few < LEAST:
            reason = f"the domain has {few} test entities, and {LEAST} are needed"
        found = None if reason else scores.difference(metric, BEST, other, domain)
        if found is None:
            return absent(named, 1, reason or f"needs answers of {BEST} and {other} with a seed in common")
        one = measured(named, 1, found, f"{len(scores.entities[domain]):,} entities")
        if not at_least:
            return one
        return AtLeast(one.what, 1, one.unit, one.value, one.low, one.high, one.over, one.reason, margin)

    n = len(scores.domains)
    needed = max(1, -(-2 * n // 3))
    against_gold = [effect("GOLD", domain) for domain in scores.domains]
    cells = [effect(other, domain, True) for other in ("GEN+GOLD", "GOLD+SELF") for domain in scores.domains]
    above = sum(one.value >= 0 for one in cells)
    control = [effect("GEN+RANDOM", domain) for domain in scores.domains]
    every = _mean_effect(scores, metric, control)
    return [
        Direction("a", CLAIMS["a"], tuple(against_gold), at_least_so_many(against_gold, needed),
                  f"holds where it is clear of zero in at least {needed} of {_domains(n)}"),
        Direction("b", CLAIMS["b"], tuple(cells), at_least_so_many(cells, len(cells) // 2 + 1),
                  f"holds where most of the {len(cells)} cells do, each where its interval is above -{margin:g}; the"
                  f" plain values are at or above zero in {above} of {len(cells)}"),
        Direction("c", CLAIMS["c"], (every, *control), FAILS if FAILS in {one.verdict for one in control}
                  else every.verdict, "holds where the mean over the domains is clear of zero, and no domain is below"),
    ]  # fmt: skip


def at_least_so_many(effects: Sequence[Effect], needed: int) -> str:
    """Holds where `needed` effects do; does not where too many fail for that; else it cannot tell."""
    found = [one.verdict for one in effects]
    if found.count(HOLDS) >= needed:
        return HOLDS
    return FAILS if len(found) - found.count(FAILS) < needed else OPEN


def _mean_effect(scores: Scores, metric: str, control: Sequence[Effect]) -> Effect:
    what = f"mean over {_domains(len(control))}, {BEST} minus GEN+RANDOM"
    lacking = [one for one in control if np.isnan(one.value)]
    found = None if lacking else scores.mean_difference(metric, BEST, "GEN+RANDOM")
    if found is None:
        return absent(what, 1, f"no number for {len(lacking)} of {_domains(len(control))}")
    return measured(what, 1, found, f"{sum(len(scores.entities[domain]) for domain in scores.domains):,} entities")


def _domains(n: int) -> str:
    return f"{n} domain" + "s" * (n != 1)


def _incomparable(
    lengths: pd.DataFrame | None, domain: str, other: str, measure: str, tolerance: float
) -> str:
    """Why the two arms were not trained on equally much; '' where they were."""
    if lengths is None or lengths.empty or measure not in lengths:
        return "it is not known how much the arms were trained on"
    of = lengths[lengths["domain"] == domain].set_index("arm")[measure]
    if not {BEST, other} <= set(of.index):
        return f"it is not known how much {BEST} and {other} were trained on"
    one, two = of[BEST], of[other]
    if max(one, two) > (1 + tolerance) * min(one, two):
        return f"the arms were not trained on equally much ({BEST} {one:,.0f} {measure}, {other} {two:,.0f})"
    return ""
