"""Categories, label certainty and the beta-binomial fit, against scipy and simulation."""

import numpy as np
import pytest
from scipy import stats

from slick_jax.knowledge import estimate


@pytest.mark.parametrize(
    ("greedy", "sampled", "expected"),
    [
        ([1, 1, 1], [0, 0, 0], "HighlyKnown"),  # the greedy answers alone decide
        ([1, 0, 1], [0, 0, 0], "MaybeKnown"),
        ([0, 0, 0], [0, 1, 0], "WeaklyKnown"),
        ([0, 0, 0], [0, 0, 0], "Unknown"),
    ],
)
def test_category_is_table_1_of_the_paper(greedy, sampled, expected):
    assert estimate.category(np.array(greedy, bool), np.array(sampled)) == expected


def test_unknown_given_sets_is_the_share_of_runs_without_a_hit():
    p = np.array([0.0, 0.01, 0.002])
    simulated = (np.random.default_rng(0).random((200_000, 3, 16)) < p[:, None]).any((1, 2))
    upper, lower = estimate.unknown_given_sets(np.zeros(3, bool), p, np.array([0.0, 0.0, 0.001]), 16)
    assert upper == pytest.approx(1 - simulated.mean(), abs=0.004)
    assert lower < upper
    assert estimate.unknown_given_sets(np.array([True, False, False]), p, p, 16) == (0.0, 0.0)


def test_exact_category_calls_the_likelier_one():
    none, some = np.zeros(2, bool), np.array([True, False])
    assert estimate.exact_category(none, 0.5) == "Unknown"
    assert estimate.exact_category(none, 0.49) == "WeaklyKnown"
    assert estimate.exact_category(some, 0.0) == "MaybeKnown"


def test_beta_binomial_fit_finds_the_parameters_it_was_drawn_from():
    hits = stats.betabinom.rvs(10, 0.4, 0.9, size=20_000, random_state=1)
    a, b = estimate.fit_beta_binomial(hits, 10)
    assert (a, b) == (pytest.approx(0.4, rel=0.05), pytest.approx(0.9, rel=0.05))


def test_beta_binomial_fit_survives_a_run_without_any_spread():
    a, b = estimate.fit_beta_binomial(np.zeros(50, int), 10)
    assert a > 0 and b > 0 and np.isfinite([a, b]).all()


def test_label_certainty_is_the_posterior_predictive():
    prior, n, hits = (0.4, 0.9), 10, 3
    highly, maybe, weakly, unknown = estimate.label_certainty(hits, 0.9, n, prior)
    posterior = stats.betabinom(n, prior[0] + hits, prior[1] + n - hits)
    assert highly == pytest.approx(posterior.pmf(n))
    assert weakly + unknown == pytest.approx(posterior.pmf(0))
    assert unknown / (weakly + unknown) == pytest.approx(0.9**n)
    assert highly + maybe + weakly + unknown == pytest.approx(1.0)
