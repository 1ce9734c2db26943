"""Exact match per category and relation, against numpy."""

import numpy as np
import pytest

from slick_jax.knowledge.greedy import Answered, Asked
from slick_jax.knowledge.match_rates import MatchRates

RNG = np.random.default_rng(0)


def asked(n, categories=("HighlyKnown", "Unknown", ""), relations=3):
    return [
        Asked(
            f"row.{i}", "prompt", ("answer",), f"relation {RNG.integers(relations)}",
            categories[RNG.integers(len(categories))],
        )
        for i in range(n)
    ]  # fmt: skip


GROUPS = {"train": asked(57), "dev": asked(20, ("",)), "test": asked(101)}
MANY = {"dev": asked(2000, ("",), relations=600)}  # not annotated


@pytest.fixture(scope="module")
def rates():
    return MatchRates(GROUPS)


@pytest.mark.parametrize("name", GROUPS)
def test_rates_are_numpy_means(rates, name):
    check(rates, name, GROUPS[name])


def test_many_relations_and_no_category():
    check(MatchRates(MANY), "dev", MANY["dev"])


def check(rates, name, rows):
    hits = RNG.random((len(rows), 2)) < 0.4
    abstained = RNG.random(len(rows)) < 0.1
    found = rates(name, Answered(hits, abstained))
    right = hits[:, 1]
    assert (found["em"], found["n"], found["abstained"]) == pytest.approx((right.mean(), len(rows), abstained.mean()))
    for kind in ("category", "relation"):
        values = np.array([getattr(row, kind) for row in rows])
        assert set(found[f"by_{kind}"]) == set(values) - {""}
        for value, rate in found[f"by_{kind}"].items():
            assert rate["em"] == pytest.approx(right[values == value].mean(), abs=1e-12)
            assert rate["n"] == (values == value).sum()
