"""Shares of a study's runs: each run once, equal loads, the same in every process."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slick_jax.processes.shards import share


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 12))
def test_every_run_is_in_one_share_and_no_share_has_a_run_more_than_it_must(costs, count):
    shares = [share(costs, number, count) for number in range(count)]
    assert sorted(itertools.chain(*shares)) == list(range(len(costs)))
    assert all(one == sorted(one) for one in shares)
    loads = [sum(costs[place] for place in one) for one in shares]
    for load, one in zip(loads, shares, strict=True):  # without its cheapest run a share has no more than any other
        assert not one or load - min(costs[place] for place in one) <= min(loads)


def test_equal_runs_are_shared_in_turn():
    assert [share([324] * 8, number, 3) for number in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_a_large_run_is_one_share_and_the_small_ones_the_other():
    assert [share([10, 10, 60, 10, 10, 10], number, 2) for number in range(2)] == [[2], [0, 1, 3, 4, 5]]


@pytest.mark.parametrize(("costs", "best"), [([7, 6, 5, 4, 3, 3, 2], 10), ([5, 5, 4, 4, 3, 3, 3], 9)])
def test_the_longest_share_is_within_a_third_of_the_best_division(costs, best):
    found = min(
        max(sum(c for c, at in zip(costs, places, strict=True) if at == one) for one in range(3))
        for places in itertools.product(range(3), repeat=len(costs))
    )
    assert found == best
    longest = max(sum(costs[place] for place in share(costs, number, 3)) for number in range(3))
    assert 9 * longest <= 11 * best  # 4/3 - 1/(3 shares)
