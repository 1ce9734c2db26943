"""95 % intervals over seeds and examples: a bootstrap of both, with the same draws for everything that is compared.

Every run of a study answers the same questions, so examples are crossed with seeds, and both are resampled (Owen 2007,
the pigeonhole bootstrap). Of S seeds S - 1 are drawn: with S, the variance of a mean over a few seeds would come out
too small by (S - 1) / S (Rao and Wu 1988). With one seed the intervals are over examples only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

DRAWS = 2000
TAILS = (0.025, 0.975)  # of the 95 % interval


@dataclass(frozen=True)
class Estimate:
    """A value and what resampling makes of it, [B]. Estimates of one Resampler are paired, draw by draw."""

    value: float
    draws: np.ndarray
    n_seeds: int

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, self.draws - other.draws, min(self.n_seeds, other.n_seeds))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 2.5 % and 97.5 % quantiles of the draws; NaN where the value is, or where too few draws have one."""
        told = self.draws[~np.isnan(self.draws)]
        if np.isnan(self.value) or len(told) < 0.95 * len(self.draws):
            return float("nan"), float("nan")
        low, high = np.quantile(told, TAILS)
        return float(low), float(high)

    @property
    def low(self) -> float:
        return self.interval[0]

    @property
    def high(self) -> float:
        return self.interval[1]


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The plain mean of paired estimates, such as of several mixtures."""
    return Estimate(
        float(np.mean([one.value for one in estimates])),
        np.mean([one.draws for one in estimates], axis=0),
        min(one.n_seeds for one in estimates),
    )


class Resampler:
    """Draws for N examples: the same ones for all variants, stopping points and seeds."""

    def __init__(self, n: int, draws: int = DRAWS, seed: int = 0):
        self._seed, self._draws = seed, draws
        rng = np.random.default_rng([seed, n])
        # How often each example is drawn, [B N]: whole numbers, exact in float32. Filled row by row, as they are many.
        self.weights = np.empty((draws, n), np.float32)
        for row in self.weights:
            row[:] = np.bincount(rng.integers(0, n, n), minlength=n)

    def of_seeds(self, seeds: Sequence[int]) -> np.ndarray:
        """The weight of each of S seeds in every draw, [B S]; rows add up to 1. Equal seeds give equal draws."""
        size = max(len(seeds) - 1, 1)
        rng = np.random.default_rng([self._seed, *map(abs, seeds)])
        drawn = rng.integers(0, len(seeds), (self._draws, size))
        return np.stack([(drawn == place).mean(axis=1) for place in range(len(seeds))], axis=1)

    def ratio(self, seeds: Sequence[int], top: np.ndarray, bottom: np.ndarray) -> Estimate:
        """100 * sum(top) / sum(bottom) over the examples, averaged over the seeds: an accuracy in percent.

        Args:
          top: [S N], such as the hits within a category.
          bottom: [S N] or [N], such as what belongs to it. NaN where a seed has none.
        """
        bottom = np.broadcast_to(bottom, top.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            of_seed = top.sum(axis=1) / bottom.sum(axis=1)
            drawn = (self.weights @ top.T.astype("f4")) / (self.weights @ bottom.T.astype("f4"))  # [B S]
        return self.over_seeds(seeds, 100 * of_seed, 100 * drawn)

    def over_seeds(self, seeds: Sequence[int], of_seed: np.ndarray, drawn: np.ndarray) -> Estimate:
        """The mean over seeds of a figure that each seed has, [S], and has in each draw of examples, [B S]."""
        weights = self.of_seeds(seeds)
        total = np.where(weights > 0, weights * drawn, 0.0).sum(axis=1)  # a seed that is not drawn may have no figure
        return Estimate(float(np.mean(of_seed)), total, len(seeds))
