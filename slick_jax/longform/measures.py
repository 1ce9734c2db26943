"""How well belief tells true claims from false ones: ranking, calibration, and supported x believed.

Every measure takes weights, and intervals resample entities, not claims: the claims of a text stand or fall together,
so that resampling them one by one would promise too much. Draws of one `Sample` are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from slick_jax.analysis.bootstrap import DRAWS, Estimate, Resampler

BINS = 10
CELLS = 2_000_000  # weights of claims that are held at once

# Weights are [B n]: a row for each draw. Results are [B], NaN in draws where a measure has no value.
Weights = Float[np.ndarray, "B n"]


def auroc(score: np.ndarray, label: np.ndarray, weights: Weights) -> Float[np.ndarray, " B"]:
    """Area under the ROC curve: how often a supported claim has the higher score of two; ties count half."""
    true, false = _by_score(score, weights * label), _by_score(score, weights * ~label)  # [B groups], rising
    below = np.cumsum(false, axis=1) - false / 2
    return _ratio((true * below).sum(axis=1), true.sum(axis=1) * false.sum(axis=1))


def average_precision(score: np.ndarray, label: np.ndarray, weights: Weights) -> Float[np.ndarray, " B"]:
    """Precision at every threshold, each weighted with the recall it adds; without interpolation, as scikit-learn."""
    true, every = (_by_score(score, part)[:, ::-1] for part in (weights * label, weights))
    precision = _ratio(np.cumsum(true, axis=1), np.cumsum(every, axis=1))
    return _ratio(np.where(true > 0, true * precision, 0.0).sum(axis=1), true.sum(axis=1))


def brier(belief: np.ndarray, label: np.ndarray, weights: Weights) -> Float[np.ndarray, " B"]:
    """Mean squared distance of belief and truth."""
    return _ratio(weights @ np.square(belief - label), weights.sum(axis=1))


def ece(belief: np.ndarray, label: np.ndarray, weights: Weights, bins: int = BINS) -> Float[np.ndarray, " B"]:
    """Expected calibration error (Guo et al. 2017, equation 5): mean over claims of |belief - precision| of their bin.

    Bins are equally wide. It is biased upward for few claims, and in resampled draws more so, so that an interval may
    lie above its value: compare scorers by Brier first.
    """
    gap = weights * (belief - label)
    return _ratio(np.abs(_summed(gap, _bin(belief, bins), bins)).sum(axis=1), weights.sum(axis=1))


def cells(belief: np.ndarray, label: np.ndarray, weights: Weights, threshold: float) -> dict[str, np.ndarray]:
    """The table supported x believed, as shares of all claims; and three rates made of it."""
    believed, total = belief >= threshold, weights.sum(axis=1)
    part = {
        "supported_believed": weights @ (label & believed),
        "supported_disbelieved": weights @ (label & ~believed),  # true, and the model does not believe it
        "unsupported_believed": weights @ (~label & believed),
        "unsupported_disbelieved": weights @ (~label & ~believed),
    }
    believed_mass = part["supported_believed"] + part["unsupported_believed"]
    supported_mass = part["supported_believed"] + part["supported_disbelieved"]
    return {name: _ratio(mass, total) for name, mass in part.items()} | {
        "believed": _ratio(believed_mass, total),
        "supported": _ratio(supported_mass, total),
        "precision_of_believed": _ratio(part["supported_believed"], believed_mass),
        "believed_of_supported": _ratio(part["supported_believed"], supported_mass),
    }


@dataclass(frozen=True)
class Sample:
    """Claims that are measured together, such as those of all generated texts of split test.

    score: raw, what ranks them; belief: calibrated; label: supported; entity: of each claim. No NaN among them.
    """

    score: Float[np.ndarray, " n"]
    belief: Float[np.ndarray, " n"]
    label: np.ndarray
    entity: Sequence[str]
    draws: int = DRAWS
    seed: int = 0

    @cached_property
    def _entities(self) -> Int[np.ndarray, " n"]:
        return np.unique(np.asarray(self.entity, dtype=object).astype(str), return_inverse=True)[1]

    @cached_property
    def _resampler(self) -> Resampler:
        return Resampler(int(self._entities.max()) + 1 if len(self.label) else 0, self.draws, self.seed)

    def estimates(self, threshold: float = 0.5, bins: int = BINS) -> dict[str, Estimate]:
        """auroc, average_precision, brier, ece, and the shares and rates of `cells`, each with its draws."""
        label = np.asarray(self.label, bool)

        def all_of(weights: Weights) -> dict[str, np.ndarray]:
            return {
                "auroc": auroc(self.score, label, weights),
                "average_precision": average_precision(self.score, label, weights),
                "brier": brier(self.belief, label, weights),
                "ece": ece(self.belief, label, weights, bins),
            } | cells(self.belief, label, weights, threshold)

        return self._resampled(all_of)

    def reliability(self, bins: int = BINS) -> list[dict[str, float | int | Estimate]]:
        """Per equally wide bin of belief: low, high, claims, mean belief (NaN where empty), precision (an Estimate)."""
        label, place = np.asarray(self.label, bool), _bin(self.belief, bins)

        def precision(weights: Weights) -> dict[str, np.ndarray]:
            share = _ratio(_summed(weights * label, place, bins), _summed(weights, place, bins))
            return {str(number): share[:, number] for number in range(bins)}

        found = self._resampled(precision)
        rows = []
        for number in range(bins):
            inside = self.belief[place == number]
            mean = float(inside.mean()) if len(inside) else float("nan")
            edges = {"low": number / bins, "high": (number + 1) / bins}
            rows.append(edges | {"claims": len(inside), "belief": mean, "precision": found[str(number)]})
        return rows

    def _resampled(self, measure: Callable[[Weights], dict[str, np.ndarray]]) -> dict[str, Estimate]:
        """`measure` of all claims, and in every draw of entities."""
        n = len(self.label)
        if not n:
            empty = np.full(self.draws, np.nan)
            return {name: Estimate(float("nan"), empty, 1) for name in measure(np.zeros((1, 0)))}
        value, step = measure(np.ones((1, n))), max(CELLS // n, 1)
        parts = [
            measure(self._resampler.weights[at : at + step, self._entities].astype(np.float64))
            for at in range(0, self.draws, step)
        ]
        drawn = {name: np.concatenate([part[name] for part in parts]) for name in value}
        return {name: Estimate(float(value[name][0]), drawn[name], 1) for name in value}


def _bin(belief: np.ndarray, bins: int) -> Int[np.ndarray, " n"]:
    return np.minimum((np.asarray(belief) * bins).astype(int), bins - 1)


def _by_score(score: np.ndarray, weights: Weights) -> Float[np.ndarray, "B groups"]:
    """The weights of equal scores added up, in rising order."""
    if not len(score):
        return np.zeros((len(weights), 0))
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    return np.add.reduceat(weights[:, order], starts, axis=1)


def _summed(values: Weights, place: Int[np.ndarray, " n"], bins: int) -> Float[np.ndarray, "B bins"]:
    return values @ (place[:, None] == np.arange(bins))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """NaN where there is nothing below the line."""
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom > 0)
