"""A share of rows with its 95 % interval, as numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slick_jax.analysis import tables


@dataclass(frozen=True)
class Share:
    """`count` of `total` rows. low, high: Wilson's 95 % interval, for rows drawn from a larger supply of their like."""

    count: int
    total: int

    @property
    def value(self) -> float:
        return self.count / self.total if self.total else float("nan")

    @property
    def low(self) -> float:
        return tables.share(self.count, self.total)[1] / 100 if self.total else 0.0

    @property
    def high(self) -> float:
        return tables.share(self.count, self.total)[2] / 100 if self.total else 1.0

    def record(self) -> dict[str, float]:
        """For summary.json; shares in percent, as in the text."""
        return {"rows": self.count, "percent": 100 * self.value, "low": 100 * self.low, "high": 100 * self.high}

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def share(flags: Sequence[bool]) -> Share:
    """How many of these rows are so."""
    flags = list(flags)
    return Share(sum(map(bool, flags)), len(flags))
