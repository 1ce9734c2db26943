"""Paired t-tests over parts of the test set (paper appendix I)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

PARTS = 100
LEVELS = ((0.01, "**"), (0.05, "*"))


def parts(n: int, seed: int = 0, count: int = PARTS) -> list[np.ndarray]:
    """The places 0..n-1 in shuffled order, cut into `count` near-equal parts (n parts where there are fewer places)."""
    return np.array_split(np.random.default_rng(seed).permutation(n), min(count, n)) if n else []


def accuracy_by_part(hits: np.ndarray, cut: list[np.ndarray]) -> np.ndarray:
    """Accuracy in percent within each part, mean over seeds: hits [S N] -> [parts]."""
    return np.array([100 * hits[:, part].mean() for part in cut])


def paired(one: np.ndarray, other: np.ndarray) -> float:
    """Two-sided p of the paired-sample t-test of accuracies by part; 1 for equal ones, NaN of fewer than two parts."""
    if len(one) < 2:
        return float("nan")
    difference = one - other
    if np.allclose(difference, difference[0], rtol=0, atol=1e-12):  # no variance: the t statistic has no value
        return 1.0 if np.isclose(difference[0], 0, atol=1e-12) else 0.0
    return float(stats.ttest_rel(one, other).pvalue)


def against_best(models: Mapping[str, np.ndarray], seed: int = 0) -> tuple[str, dict[str, float]]:
    """The model of the highest accuracy, and for every other one the p of its difference from it.

    Args:
      models: hits [S N] of each model on the same N examples.
    """
    cut = parts(next(iter(models.values())).shape[1], seed)
    best = max(models, key=lambda name: models[name].mean())
    found = {name: accuracy_by_part(hits, cut) for name, hits in models.items()}
    return best, {name: paired(found[best], values) for name, values in found.items() if name != best}


def stars(p: float) -> str:
    """'**' for p < 0.01, '*' for p < 0.05."""
    return next((mark for level, mark in LEVELS if p < level), "")
