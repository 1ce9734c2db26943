"""Monofact rates, counted by hand."""

import math

from slick_jax.data.examples import Example
from slick_jax.data.monofacts import monofact_rate, monofacts


def test_the_rate_is_things_observed_once_over_observations():
    # Good-Turing: b and d are observed once, of seven observations
    assert monofact_rate("aabcccd") == 2 / 7
    assert monofact_rate("abc") == 1 and monofact_rate("aabb") == 0 and math.isnan(monofact_rate(""))


def test_facts_and_answers_by_relation():
    rows = [
        Example("1", "Where is A?", ("Rome",), "place"),
        Example("2", "where is  a?", ("ROME",), "place"),  # the same fact
        Example("3", "Where is B?", ("Rome",), "place"),
        Example("4", "Where is B?", ("Oslo", "Rome"), "place"),  # another first answer
        Example("5", "Who made C?", ("Rome",), "made"),  # of another relation
    ]
    found = monofacts(rows)
    assert found.index.tolist() == ["place", "made", "all relations"] and found["rows"].tolist() == [4, 1, 5]
    assert found["facts once"].tolist() == [2 / 4, 1, 3 / 5]
    assert found["answers once"].tolist() == [1 / 4, 1, 2 / 5]
