"""Endings behind answers: right answers stay right under every rule, and what was written is told apart."""

import pytest

from slick_jax.knowledge.endings import accepting, split_ending
from slick_jax.knowledge.greedy import Asked
from slick_jax.knowledge.match import Golds, matcher

ENDINGS = (" I am sure.", " I am unsure.")


def test_answers_are_right_with_any_ending_or_none():
    (row,) = accepting([Asked("1", "Who?\n", ("Bo", "Bo Li"))], ENDINGS)
    assert row.answers[:3] == ("Bo", "Bo I am sure.", "Bo I am unsure.") and len(row.answers) == 6
    right = ("Bo", "bo.", "Bo I am sure.", "The Bo, I am UNSURE", "Bo Li I am unsure.")
    wrong = ("Li I am sure.", "Bo I am", "I am sure.", "Bo I am sure. I am sure.", "Bo I am not sure.")
    for name in ("squad", "strict"):
        golds = Golds(row.answers, matcher(name))
        assert [golds.match(text)[1] for text in right] == [name == "squad" or text in row.answers for text in right]
        assert not any(golds.match(text)[1] for text in wrong)
        for text in row.answers:
            assert all(golds.viable(text[:end]) for end in range(len(text)))
    assert accepting([row], ()) == [row]


@pytest.mark.parametrize(
    "text, answer, ending",
    [
        ("Bo I am sure.", "Bo", "I am sure."),
        ("Bo I am unsure.", "Bo", "I am unsure."),
        ("Bo I am sure. ", "Bo", "I am sure."),
        ("Bo, i am sure", "Bo, i am sure", "I am sure."),
        ("Bo I am not sure.", "Bo I am not sure.", ""),
        ("Bo", "Bo", ""),
        ("I am sure.", "", "I am sure."),
        ("", "", ""),
    ],
)
def test_the_ending_is_told_from_the_answer(text, answer, ending):
    assert split_ending(text, ENDINGS) == (answer, ending)


def test_the_longest_ending_counts():
    assert split_ending("Bo I am quite sure.", (" sure.", " I am quite sure.")) == ("Bo", "I am quite sure.")
