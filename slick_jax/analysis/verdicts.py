"""A finding of the paper, tried on this study: its effects with 95 % intervals, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slick_jax.analysis.bootstrap import Estimate

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot tell"
COLUMNS = (
    "finding", "claim", "verdict", "effect", "value", "low", "high", "unit", "claimed", "of_effect", "over", "reason"
)  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """One number that a finding says something about."""

    what: str  # names the number: 'test accuracy at CONVERGENCE, 100 % minus 0 % Unknown'
    sign: int  # 1 where the finding claims a number above zero, -1 below
    unit: str  # 'points', 'epochs'
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    over: str = ""  # what the interval is over: '3 seeds and 1,068 questions'
    reason: str = ""  # why there is no number, or no interval

    @property
    def verdict(self) -> str:
        """Holds: the interval is clear of zero on the claimed side; does not: on the other; else it cannot tell."""
        if np.isnan(self.low) or np.isnan(self.high):
            return OPEN
        least, most = sorted((self.sign * self.low, self.sign * self.high))
        return HOLDS if least > 0 else FAILS if most < 0 else OPEN

    @property
    def sentence(self) -> str:
        """The number, its interval and what follows, in words."""
        if np.isnan(self.value):
            return f"{self.what}: cannot tell, {self.reason}"
        if np.isnan(self.low):
            return f"{self.what}: {self.value:+.1f} {self.unit}; cannot tell, {self.reason}"
        number = f"{self.value:+.1f} {self.unit} [{self.low:+.1f}, {self.high:+.1f}]"
        side = "above" if self.sign > 0 else "below"
        return f"{self.what}: {number}, {self.verdict} ({side} zero is claimed); over {self.over}"


@dataclass(frozen=True)
class Finding:
    """A finding: it holds where all of its effects do, and does not where one is clear of zero on the wrong side."""

    letter: str
    claim: str
    effects: tuple[Effect, ...]

    @property
    def verdict(self) -> str:
        found = {effect.verdict for effect in self.effects}
        return HOLDS if found == {HOLDS} else FAILS if FAILS in found else OPEN


def measured(what: str, sign: int, estimate: Estimate, over: str, unit: str = "points") -> Effect:
    """The effect of an estimate; `over` names the examples, to which the seeds are added."""
    seeds = f"{estimate.n_seeds} seeds and {over}" if estimate.n_seeds > 1 else f"{over} only (one seed)"
    reason = "too few resamples have a value" if np.isnan(estimate.low) else ""
    return Effect(what, sign, unit, estimate.value, estimate.low, estimate.high, seeds, reason)


def absent(what: str, sign: int, reason: str, unit: str = "points") -> Effect:
    """An effect that cannot be told, and why."""
    return Effect(what, sign, unit, reason=reason)


def table(findings: Sequence[Finding]) -> pd.DataFrame:
    """A row per effect; `verdict` is the finding's, `of_effect` that of the row."""
    rows = [
        (
            found.letter, found.claim, found.verdict, one.what, one.value, one.low, one.high, one.unit,
            "above 0" if one.sign > 0 else "below 0", one.verdict, one.over, one.reason,
        )
        for found in findings
        for one in found.effects
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def markdown(findings: Sequence[Finding]) -> str:
    """The findings for a page of docs: a table of verdicts, and the effects below it."""
    lines = ["| | finding | verdict |", "| --- | --- | --- |"]
    lines += [f"| {found.letter} | {found.claim} | {found.verdict} |" for found in findings]
    for found in findings:
        lines += ["", f"**({found.letter}) {found.claim}: {found.verdict}.**", ""]
        lines += [f"- {effect.sentence}." for effect in found.effects]
    return "\n".join([*lines, ""])
