"""Saturation: what the categories of a run would have been with fewer exemplar sets and fewer samples.

The stored hits tell, without the model: the first n of a question's exemplar sets, and the first s samples behind each
(paper appendix C; figure 5 does the same for N_ex).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from slick_jax.categories import CATEGORIES
from slick_jax.errors import InputError
from slick_jax.knowledge.estimate import place


def saturation(greedy: Sequence[Sequence[bool]], sampled: Sequence[Sequence[Sequence[bool]]]) -> pd.DataFrame:
    """Category shares in percent at every number of exemplar sets and samples up to the run's.

    Args:
      greedy: hits [N J] of N questions behind J exemplar sets; sampled: [N J S].

    Returns:
      a row per (n_exemplar_sets, n_samples), n_samples = 0 included, with a column per category.

    Raises InputError where a question has no samples: mode `labels` draws them only where they decide at full size.
    """
    if any(row is None for row in sampled):
        raise InputError("saturation needs the samples of every question; annotate with annotate.mode='full'")
    greedy = np.array([list(row) for row in greedy], bool)
    sampled = np.array([[list(draws) for draws in row] for row in sampled], bool)
    all_hit, any_hit = np.logical_and.accumulate(greedy, 1), np.logical_or.accumulate(greedy, 1)
    drawn = np.logical_or.accumulate(np.logical_or.accumulate(sampled, 1), 2)
    drawn = np.concatenate([np.zeros_like(drawn[:, :, :1]), drawn], axis=2)  # no sample at all
    places = place(all_hit[:, :, None], any_hit[:, :, None], drawn)
    sets, samples = np.indices(drawn.shape[1:])
    table = {"n_exemplar_sets": sets.ravel() + 1, "n_samples": samples.ravel()}
    shares = {name: 100 * (places == number).mean(axis=0).ravel() for number, name in enumerate(CATEGORIES)}
    return pd.DataFrame(table | shares)
