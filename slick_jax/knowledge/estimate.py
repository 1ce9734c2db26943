"""From hits to the four SliCK categories, and how sure a label is."""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from slick_jax.categories import CATEGORIES, UNKNOWN


def place(all_greedy: np.ndarray, any_greedy: np.ndarray, any_sampled: np.ndarray) -> np.ndarray:
    """The SliCK category (paper table 1) as its place in `CATEGORIES`, from whether all greedy draws, any of them, and
    any sample hit; arrays broadcast."""
    return np.where(all_greedy, 0, np.where(any_greedy, 1, np.where(any_sampled, 2, 3)))


def category(greedy: np.ndarray, sampled: np.ndarray) -> str:
    """The SliCK category of hits greedy bool[J] and sampled bool or counts [J ...]."""
    return CATEGORIES[int(place(greedy.all(), greedy.any(), sampled.any()))]


def unknown_given_sets(greedy: np.ndarray, p: np.ndarray, rest: np.ndarray, n_samples: int) -> tuple[float, float]:
    """Probability that a fresh set of samples behind the same exemplar sets calls the example Unknown.

    prod_j (1 - p_j)^n with p float[J] the exact P_Correct per set, 0 where a greedy draw hit. Returns it and its lower
    bound, which counts the unresolved `rest` float[J] as correct.
    """
    if greedy.any():
        return 0.0, 0.0
    upper = np.prod((1.0 - np.clip(p, 0.0, 1.0)) ** n_samples)
    lower = np.prod((1.0 - np.clip(p + rest, 0.0, 1.0)) ** n_samples)
    return float(upper), float(lower)


def exact_category(greedy: np.ndarray, p_unknown: float) -> str:
    """The category without sampling (mode `exact`): Unknown where samples would more likely than not all miss."""
    if greedy.any():
        return category(greedy, greedy)
    return UNKNOWN if p_unknown >= 0.5 else "WeaklyKnown"


def fit_beta_binomial(hits: np.ndarray, n: int) -> tuple[float, float]:
    """Maximum-likelihood (a, b) of a beta-binomial for hits int[N] out of n, over a run's examples.

    Parameters are kept within 1e-3..1e3: a run where every example has the same count has no finite maximum.
    """
    counts = np.bincount(np.asarray(hits, int), minlength=n + 1)
    k = np.arange(n + 1)

    def loss(log_parameters):
        a, b = np.exp(log_parameters)
        return -np.sum(counts * (special.betaln(k + a, n - k + b) - special.betaln(a, b)))

    bound = np.log([1e-3, 1e3])
    start = np.log([0.5, 0.5])
    best = optimize.minimize(loss, start, method="L-BFGS-B", bounds=[tuple(bound)] * 2)
    a, b = np.exp(best.x)
    return float(a), float(b)


def label_certainty(
    hits: int, mean_miss: float | None, n: int, prior: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Probability of each category if the example were annotated afresh with n other exemplar sets.

    The greedy hits of the fresh sets follow the beta-binomial posterior of `hits` out of n under `prior`; where none of
    them hits, every fresh set misses with all its samples with probability `mean_miss`, the mean of (1 - p_j)^n_samples
    over the sets seen whose greedy draw missed (None: there are none).

    Returns:
      (p_highly, p_maybe, p_weakly, p_unknown), summing to 1.
    """
    a, b = prior[0] + hits, prior[1] + n - hits
    base = special.betaln(a, b)
    p_highly = float(np.exp(special.betaln(a + n, b) - base))
    p_none = float(np.exp(special.betaln(a, b + n) - base))
    unknown = 0.0 if mean_miss is None else mean_miss**n
    return p_highly, max(0.0, 1.0 - p_highly - p_none), p_none * (1.0 - unknown), p_none * unknown
