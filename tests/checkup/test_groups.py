"""Groups that are worse than the rest, and clusters of like questions."""

import pandas as pd
import pytest

from slick_jax.checkup import groups
from slick_jax.checkup.shares import Share


def test_wilson_interval_of_a_share():
    """Newcombe (1998), table I, method 3: 81 of 263 and 0 of 20."""
    assert (Share(81, 263).low, Share(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert (Share(0, 20).low, Share(0, 20).high) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert str(Share(81, 263)) == "30.8 % (25.5 to 36.6)"


def rows(group, unknown, known):
    return pd.DataFrame(
        {
            "group": group, "category": ["Unknown"] * unknown + ["HighlyKnown"] * known, "p_correct_greedy": 0.5,
            "question": [f"{group} {i}?" for i in range(unknown + known)],
        }
    )  # fmt: skip


def test_groups_are_ranked_by_what_is_sure():
    whole = pd.concat([rows("bad", 40, 10), rows("lucky", 5, 5), rows("good", 5, 95), rows("tiny", 3, 0)])
    table = groups.ranked(whole.reset_index(drop=True), 10)
    assert table["group"].tolist() == ["bad", "lucky", "good"]  # tiny is too small to be ranked
    assert table["against"].tolist() == ["more", "", "less"]
    assert table["Unknown"].tolist() == [80.0, 50.0, 5.0] and (table["low"] < table["Unknown"]).all()
    assert table["example"][0] == "bad 0?"


def test_kinds_of_questions_are_found_and_called_by_their_words():
    kinds = {
        "capital": [f"What is the capital city of Land{i}?" for i in range(40)],
        "wrote": [f"Who wrote the novel Book{i}?" for i in range(40)],
        "born": [f"In which year was Person{i} born?" for i in range(40)],
    }
    questions = [question for of in kinds.values() for question in of]
    names = groups.clusters(questions, 3, seed=0)
    assert names == groups.clusters(questions, 3, seed=0)
    for word, start in zip(kinds, (0, 40, 80), strict=True):
        (name,) = set(names[start : start + 40])
        assert word in name or "year" in name


@pytest.mark.parametrize("questions", [["Why?"] * 10, [f"word{i}" for i in range(200)]])
def test_no_clusters_where_there_is_nothing_to_go_by(questions):
    assert groups.clusters(questions, 0, seed=0) is None


def test_more_clusters_than_kinds_of_questions():
    questions = ["What is the capital of it?"] * 30 + ["Who wrote the book?"] * 30
    assert len(set(groups.clusters(questions, 10, seed=0))) == 2
    assert len(groups.clusters(questions[26:34], 50, seed=0)) == 8
