"""The top k by chunks against a stable sort, with ties at every border."""

import jax
import numpy as np
import pytest

from slick_jax.sampling.top_k import CHUNKS, top_k


@pytest.mark.parametrize(("width", "k"), [(20, 40), (3000, 40), (12_345, 40), (20_000, 7), (40_000, 1)])
@pytest.mark.parametrize("levels", [3, 40, 10**6])
def test_values_and_ids_are_those_of_a_stable_sort(width, k, levels):
    rng = np.random.default_rng(width + levels)
    scores = rng.integers(0, levels, (5, width)).astype(np.float32) - levels / 2
    scores[0, width // 2 :] = -np.inf  # a padded vocabulary
    scores[1] = 0.0
    values, ids, finite = jax.jit(top_k, static_argnums=1)(scores, k)
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    assert finite
    np.testing.assert_array_equal(ids, order)
    np.testing.assert_array_equal(values, np.take_along_axis(scores, order, axis=1))
    assert max(CHUNKS) * 2 * 40 < 12_345  # the larger widths are narrowed


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("width", [50, 20_000])
def test_a_score_that_is_not_finite_is_told(bad, width):
    scores = np.zeros((3, width), np.float32)
    scores[1, width - 3] = bad
    assert not jax.jit(top_k, static_argnums=1)(scores, 40)[2]
