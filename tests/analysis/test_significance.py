"""The test of appendix I against its formula written out."""

import math

import numpy as np
import pytest
from scipy import stats

from slick_jax.analysis import significance


def test_parts_are_near_equal_shuffled_and_the_same_each_time():
    cut = significance.parts(1068)
    assert len(cut) == 100 and {len(part) for part in cut} == {10, 11}
    whole = np.concatenate(cut)
    assert sorted(whole) == list(range(1068)) and whole.tolist() != sorted(whole)
    assert all((one == other).all() for one, other in zip(cut, significance.parts(1068), strict=True))
    assert [len(part) for part in significance.parts(7)] == [1] * 7 and significance.parts(0) == []


def test_accuracy_by_part_is_counted_by_hand():
    hits = np.array([[1, 0, 1, 1], [1, 0, 0, 1]], bool)
    found = significance.accuracy_by_part(hits, [np.array([0, 2]), np.array([1, 3])])
    assert found.tolist() == [75.0, 50.0]


def test_p_is_that_of_the_t_statistic():
    rng = np.random.default_rng(0)
    one, other = rng.normal(40, 5, 100), rng.normal(41, 5, 100)
    d = one - other
    t = d.mean() / (math.sqrt(((d - d.mean()) ** 2).sum() / 99) / math.sqrt(100))
    # The tail of Student's t with 99 degrees of freedom, by the regularised incomplete beta function.
    from scipy.special import betainc

    assert significance.paired(one, other) == pytest.approx(betainc(99 / 2, 0.5, 99 / (99 + t * t)))
    assert significance.paired(one, other) == pytest.approx(stats.ttest_1samp(d, 0).pvalue)


def test_differences_without_variance_are_told_apart_and_one_part_cannot_be():
    one = np.array([10.0, 20.0, 30.0])
    assert significance.paired(one, one) == 1.0
    assert significance.paired(one + 1, one) == 0.0
    assert np.isnan(significance.paired(one[:1], one[:1]))


def test_every_model_is_compared_with_the_best():
    rng = np.random.default_rng(1)
    base = rng.random((2, 500)) < 0.5
    worse = base & (rng.random((2, 500)) < 0.8)
    alike = base.copy()
    alike[:, 0] = False
    best, found = significance.against_best({"worse": worse, "base": base | False, "alike": alike})
    assert best == "base" and set(found) == {"worse", "alike"}
    assert found["worse"] < 0.01 and found["alike"] > 0.05
    cut = significance.parts(500)
    by_hand = [[100 * hits[:, part].mean() for part in cut] for hits in (base, worse)]
    assert found["worse"] == pytest.approx(stats.ttest_rel(*by_hand).pvalue)


@pytest.mark.parametrize(
    ("p", "mark"), [(0.2, ""), (0.05, ""), (0.049, "*"), (0.01, "*"), (0.0099, "**"), (np.nan, "")]
)
def test_stars(p, mark):
    assert significance.stars(p) == mark


def test_without_a_difference_one_test_in_twenty_is_starred():
    marked = 0
    for trial in range(400):
        rng = np.random.default_rng(trial)
        one, other = rng.random((2, 1, 600)) < 0.4
        cut = significance.parts(600, trial)
        p = significance.paired(*(significance.accuracy_by_part(hits, cut) for hits in (one, other)))
        marked += p < 0.05
    assert 0.02 <= marked / 400 <= 0.085
