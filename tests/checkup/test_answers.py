"""Near misses, answers that can be guessed, questions that come twice."""

import pandas as pd
import pytest

from slick_jax.checkup import answers


@pytest.mark.parametrize(
    ("answer", "golds", "kind"),
    [
        ("Herbert", ["Frank Herbert"], "part"),
        ("It was Frank Herbert, in 1965", ["Frank Herbert"], "holds"),
        ("Frank P. Herbert", ["Frank Herbert"], "close"),
        ("Frank Sinatra", ["Frank Herbert"], ""),  # one name of two
        ("Herberts", ["Frank Herbert"], ""),
        ("", ["Frank Herbert"], ""),
        ("the", ["The Who"], ""),  # nothing is left of an article
        ("St Petersburg", ["Leningrad", "Saint Petersburg in Russia"], ""),
        ("Petersburg", ["Leningrad", "Saint Petersburg"], "part"),
    ],
)
def test_nearness(answer, golds, kind):
    assert answers.nearness(answer, golds) == kind


def test_f1_by_hand():
    assert answers.f1(["a", "b", "c"], ["b", "c", "d", "e"]) == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert answers.f1(["a", "a"], ["a"]) == pytest.approx(2 / 3)
    assert answers.f1([], ["a"]) == 0


def test_near_misses_are_rows_without_a_hit_that_are_mostly_near():
    rows = pd.DataFrame(
        [
            ("near", ["Frank Herbert"], [False] * 4, ["Herbert", "Herbert", "Asimov", "by Frank Herbert"]),
            ("once", ["Frank Herbert"], [False] * 4, ["Herbert", "Asimov", "Asimov", "Asimov"]),
            ("hit", ["Frank Herbert"], [True] + [False] * 3, ["Frank Herbert", "Herbert", "Herbert", "Herbert"]),
        ],
        columns=["id", "answers", "greedy_hits", "greedy"],
    ).assign(question="Who wrote Dune?")
    found = answers.near_misses(rows)
    assert found[["id", "answer", "kind", "share"]].values.tolist() == [["near", "Herbert", "part", 0.75]]


def test_guessable_groups():
    rows = pd.DataFrame(
        {
            "group": ["language"] * 20 + ["author"] * 20,
            "answers": [["English."]] * 12 + [[f"answer {i}"] for i in range(28)],
            "greedy": [["english", "French"]] * 40,
        }
    )
    (found,) = answers.guessable(rows, 10, 0.2).to_dict("records")
    assert found == {"group": "language", "rows": 20, "answer": "english", "share": 0.6, "given": 0.5}
    assert answers.guessable(rows, 21, 0.2).empty


def test_questions_that_come_twice():
    questions = {"a": "who?", "b": "who?", "c": "what?", "d": "what?", "e": "when?"}
    golds = {"a": ["X"], "b": ["the x", "Y"], "c": ["1"], "d": ["2"], "e": ["3"]}
    assert answers.repeated(questions, golds) == ([["a", "b"], ["c", "d"]], [["c", "d"]])
