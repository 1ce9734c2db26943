"""The bootstrap against hand-made cases, textbook variances and a slow one written differently."""

import math

import numpy as np
import pytest

from slick_jax.analysis.bootstrap import Estimate, Resampler, mean


def test_value_is_the_mean_over_seeds_of_each_seeds_own_ratio():
    hits = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool)
    answered = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    assert Resampler(4, draws=10).ratio((0, 1), hits, answered).value == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)


def test_draws_equal_a_loop_over_resampled_examples_and_seeds():
    rng = np.random.default_rng(1)
    hits, resampler = rng.random((3, 20)) < 0.5, Resampler(20, draws=50)
    found = resampler.ratio((0, 1, 2), hits, np.ones(20, bool))
    of_seeds = resampler.of_seeds((0, 1, 2))
    for draw in range(50):
        chosen = np.repeat(np.arange(20), resampler.weights[draw].astype(int))
        assert len(chosen) == 20
        by_hand = sum(of_seeds[draw, s] * 100 * hits[s, chosen].mean() for s in range(3))
        assert found.draws[draw] == pytest.approx(by_hand, rel=1e-5)


def test_over_one_seed_the_interval_is_that_of_a_proportion():
    n, p = 1000, 0.3
    hits = (np.arange(n) < p * n)[None]
    found = Resampler(n, draws=4000).ratio((7,), hits, np.ones(n, bool))
    assert found.n_seeds == 1
    half = 196 * math.sqrt(p * (1 - p) / n)
    assert found.interval == (pytest.approx(100 * p - half, abs=0.15), pytest.approx(100 * p + half, abs=0.15))


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_variance_over_seeds_is_that_of_their_mean(n_seeds):
    """Rao and Wu 1988: S - 1 draws give the unbiased variance s^2 / S, where S draws would give (S - 1) / S of it."""
    values = np.random.default_rng(2).normal(40, 3, n_seeds)
    seeds = tuple(range(n_seeds))
    drawn = Resampler(5, draws=40_000).over_seeds(seeds, values, np.broadcast_to(values, (40_000, n_seeds)))
    assert drawn.draws.var() == pytest.approx(values.var(ddof=1) / n_seeds, rel=0.04)
    assert drawn.value == pytest.approx(values.mean())


def test_equal_seeds_are_drawn_alike_and_models_that_differ_nowhere_differ_by_nothing():
    resampler = Resampler(300)
    hits = np.random.default_rng(3).random((3, 300)) < 0.4
    whole = np.ones(300, bool)
    difference = resampler.ratio((0, 1, 2), hits, whole) - resampler.ratio((0, 1, 2), hits.copy(), whole)
    assert difference.interval == (0.0, 0.0)
    better = hits | (np.arange(300) < 30)
    paired = resampler.ratio((0, 1, 2), better, whole) - resampler.ratio((0, 1, 2), hits, whole)
    apart = Resampler(300, seed=9).ratio((5, 6, 7), better, whole) - resampler.ratio((0, 1, 2), hits, whole)
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)


def test_every_seed_is_drawn_equally_often():
    weights = Resampler(3, draws=9000).of_seeds((0, 1, 2))
    assert np.allclose(weights.sum(axis=1), 1) and weights.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert set(np.unique(weights)) == {0.0, 0.5, 1.0}  # two of three are drawn


def test_coverage_of_a_difference_of_seeds_and_questions():
    """95 % intervals hold the truth about that often: 5 seeds that differ, 150 questions that differ in difficulty."""
    held = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        hard = rng.normal(0, 1, 150)
        first, second = (
            hard + shift + rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 1, (5, 150)) > 0 for shift in (0.0, 0.4)
        )
        resampler, whole = Resampler(150, draws=300, seed=trial), np.ones(150, bool)
        seeds = tuple(range(5))
        found = resampler.ratio(seeds, second, whole) - resampler.ratio(seeds, first, whole)
        spread = math.sqrt(2 + 0.01)
        truth = 100 * (0.5 + 0.5 * math.erf(0.4 / spread / math.sqrt(2)) - 0.5)
        held += found.low <= truth <= found.high
    assert held / 200 >= 0.90


def test_without_any_example_there_is_no_value_and_no_interval():
    found = Resampler(10).ratio((0,), np.zeros((1, 10), bool), np.zeros(10, bool))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_a_seed_without_a_figure_counts_only_where_it_is_drawn():
    bottom = np.array([[True] * 6, [False] * 6])
    found = Resampler(6).ratio((0, 1), np.ones((2, 6), bool) & bottom, bottom)
    assert np.isnan(found.value) and np.isnan(found.low)


def test_mean_is_taken_draw_by_draw():
    one, other = Estimate(1.0, np.array([0.0, 2.0]), 3), Estimate(3.0, np.array([4.0, 6.0]), 2)
    both = mean([one, other])
    assert (both.value, both.draws.tolist(), both.n_seeds) == (2.0, [2.0, 4.0], 2)
