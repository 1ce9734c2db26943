"""From raw scores to belief: a rising map to the probability that a claim is true, fitted on split dev.

Platt's sigmoid is the default. It has two parameters, which a few hundred claims of dev tell well, and it keeps the
order of claims strictly, so that "keep the top share" means the same before and after. Isotonic regression fits any
rising shape, but ties many claims and wants about a thousand of them (Niculescu-Mizil and Caruana 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit

from slick_jax.errors import InputError


@dataclass(frozen=True)
class Calibration:
    """A fitted map; plain numbers, kept as JSON.

    platt: belief = sigmoid(slope * score + offset), parameters (slope, offset); isotonic: straight lines between the
    points (scores), (beliefs), flat outside of them.
    """

    method: str
    first: tuple[float, ...]
    second: tuple[float, ...]

    def belief(self, score: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The probability that a claim of this raw score is supported."""
        if self.method == "platt":
            return expit(self.first[0] * np.asarray(score, np.float64) + self.second[0])
        return np.interp(score, self.first, self.second)

    @property
    def informative(self) -> bool:
        """Whether belief differs between claims at all: a scorer that ranks no better than chance may lose that."""
        return self.first[0] > 0 if self.method == "platt" else self.second[0] < self.second[-1]

    def to_json(self) -> dict[str, Any]:
        return {"method": self.method, "first": list(self.first), "second": list(self.second)}


def fit(score: Sequence[float], label: Sequence[bool], method: str = "platt", what: str = "belief") -> Calibration:
    """The map for these claims of split dev. It never falls: where higher scores are less often true, it is flat.

    Raises InputError, naming the scorer `what`, where all labels are the same.
    """
    score, label = np.asarray(score, np.float64), np.asarray(label, bool)
    if label.all() or not label.any():
        which = "supported" if label.any() else "unsupported"
        raise InputError(
            f"{what}: all {len(label)} claims of split dev are {which}, so that belief cannot be calibrated; give dev"
            " more entities"
        )
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        fitted = IsotonicRegression(out_of_bounds="clip").fit(score, label)
        return Calibration("isotonic", tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))
    return _platt(score, label)


def _platt(score: np.ndarray, label: np.ndarray) -> Calibration:
    """Maximum likelihood with Platt's targets (Platt 1999): as if each class had been seen once more on the other
    side, which keeps the slope finite where dev is told apart without a mistake."""
    n_true, n_false = int(label.sum()), int((~label).sum())
    target = np.where(label, (n_true + 1) / (n_true + 2), 1 / (n_false + 2))
    middle, spread = float(score.mean()), float(score.std()) or 1.0
    scaled = (score - middle) / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        odds = parameters[0] * scaled + parameters[1]
        gap = expit(odds) - target
        return float(np.sum(np.logaddexp(0.0, odds) - target * odds)), np.array([gap @ scaled, gap.sum()])

    start = np.array([0.0, np.log((n_true + 1) / (n_false + 1))])
    bounds, options = [(0.0, None), (None, None)], {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    slope, offset = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return Calibration("platt", (float(slope / spread),), (float(offset - slope * middle / spread),))
