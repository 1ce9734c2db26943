"""The direction test on planted studies: true orderings hold, turned ones do not, equal ones cannot be told."""

import pytest

from slick_jax.analysis import verdicts
from slick_jax.analysis.verdicts import FAILS, HOLDS, OPEN
from slick_jax.longform.direction import AtLeast, directions
from slick_jax.longform.scores import Scores
from tests.longform import planted_study

ARMS = ("BASE", "GOLD", "GOLD+SELF", "GEN+GOLD", "GEN+SELF", "GEN+RANDOM")


def found(precision, lengths="equal", domains=planted_study.DOMAINS, **settings):
    answers = planted_study.scored(domains, n=120, precision=precision, arms=ARMS, transfer=False, **settings)
    lengths = planted_study.training(domains) if isinstance(lengths, str) else lengths
    return {one.letter: one for one in directions(Scores(answers, draws=500), lengths)}


def test_planted_orderings_hold():
    tried = found({"GEN+SELF": 0.75})
    assert [one.verdict for one in tried.values()] == [HOLDS] * 3
    assert [len(one.effects) for one in tried.values()] == [3, 6, 4]
    assert "values are at or above zero in 6 of 6" in tried["b"].rule


def test_turned_orderings_do_not():
    tried = found({"GEN+SELF": 0.4, "GOLD": 0.7})
    assert [one.verdict for one in tried.values()] == [FAILS] * 3


def test_two_of_three_domains_are_enough_for_gold_and_one_is_not():
    def gains(n):
        better = planted_study.DOMAINS[:n]
        return lambda arm, domain: 0.75 if arm == "GEN+SELF" and domain in better else 0.5

    assert found(gains(2))["a"].verdict == HOLDS
    assert found(gains(1))["a"].verdict == OPEN  # the other two differ by nothing

    def loses(arm, domain):
        return 0.5 if arm != "GEN+SELF" else 0.75 if domain == "plots" else 0.25

    tried = found(loses)
    assert tried["a"].verdict == FAILS
    assert tried["c"].verdict == FAILS  # a domain lies below, whatever the mean


def test_arms_of_unequal_length_are_not_compared():
    longer = planted_study.training(plots={"GOLD": 10_600}, leaflets={"GOLD": 20_000})
    tried = found({"GEN+SELF": 0.75}, longer)
    assert tried["a"].verdict == OPEN and tried["c"].verdict == HOLDS
    assert "not trained on equally much (GEN+SELF 10,005 tokens, GOLD 10,600)" in tried["a"].effects[1].sentence
    assert found({"GEN+SELF": 0.75}, None)["a"].verdict == OPEN


def test_a_few_entities_settle_nothing():
    """With one entity every resample is the same, and any difference would be clear of zero."""
    answers = planted_study.scored(n=8, transfer=False, precision={"GEN+SELF": 0.95, "GOLD": 0.2})
    tried = directions(Scores(answers, draws=50), planted_study.training())
    assert {one.verdict for one in tried} == {OPEN}
    assert "has 6 test entities, and 10 are needed" in tried[0].effects[0].sentence


def test_missing_arms_are_named():
    answers = planted_study.scored(("plots",), n=20, arms=("BASE", "GOLD", "GEN+SELF"), transfer=False)
    tried = directions(Scores(answers, draws=50), planted_study.training(("plots",)))
    assert tried[2].verdict == OPEN and "needs answers of GEN+SELF and GEN+RANDOM" in tried[2].effects[1].sentence
    assert len(verdicts.table(tried)) == 5 and "**(c)" in verdicts.markdown(tried)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-0.9, 3, HOLDS), (-1.1, 3, OPEN), (-3, -0.1, FAILS), (-0.5, -0.1, FAILS)]
)
def test_at_least_allows_its_margin(low, high, verdict):
    effect = AtLeast("x", 1, "points", (low + high) / 2, low, high, "9 entities")
    assert effect.verdict == verdict and "(an interval above -1 is claimed)" in effect.sentence
