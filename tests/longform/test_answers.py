"""Counts and scores of single answers, by hand."""

import math

import pandas as pd
import pytest

from slick_jax.errors import InputError
from slick_jax.longform.answers import per_answer
from tests.longform import planted_study


def made(counts, gamma=10.0):
    """Answers with so many (supported, unsupported) claims; the last of each repeats its first in other spelling."""
    told = planted_study.entities(("plots",), n=8)
    names = [f"a{i}" for i in range(len(counts))]
    answers = pd.DataFrame(
        {"id": names, "entity": "plots.1", "arm": "GOLD", "trained_on": "plots", "seed": 0,
         "text": ["x" if sum(of) else " \n" for of in counts], "n_tokens": 5, "truncated": False}
    )  # fmt: skip
    rows = []
    for name, (right, wrong) in zip(names, counts, strict=True):
        n = right + wrong
        words = [f"He did {k}." for k in range(n - 1)] + ["HE did  0."] if n > 1 else ["He."] * n
        rows += [(f"{name}#{k}.0", name, words[k], None, None, k < right) for k in range(n)]
    claims = pd.DataFrame(rows, columns=["id", "text_id", "claim", "relation", "value", "supported"])
    # of every answer with claims one sentence does not parse, and its last one is cut
    sentences = [(name, parsed) for name, of in zip(names, counts, strict=True) if sum(of) for parsed in
                 [*[True] * sum(of), False, None]]  # fmt: skip
    sentences = pd.DataFrame(sentences, columns=["text_id", "parsed"])
    return per_answer(answers, sentences, claims, told, gamma).set_index("id"), answers, sentences, claims, told


def test_precision_and_factscore_by_hand():
    rows = made([(9, 3), (2, 2), (10, 0), (0, 5), (0, 0)])[0]
    assert rows["claims"].tolist() == [12, 4, 10, 5, 0]
    assert rows["unsupported"].tolist() == [3, 2, 0, 5, 0]
    assert rows["repeated"].tolist() == [1, 1, 1, 1, 0]
    assert rows["sentences"].tolist() == [13, 5, 11, 6, 0] and rows["parsed"].tolist() == [12, 4, 10, 5, 0]
    assert rows["abstained"].tolist() == [False] * 4 + [True] and rows["empty"].tolist() == [False] * 4 + [True]
    assert rows["precision"].tolist()[:4] == [0.75, 0.5, 1.0, 0.0] and math.isnan(rows["precision"]["a4"])
    # 12 claims: no penalty; 4: exp(1 - 10 / 4); 10: none; an answer without a claim has no score
    assert rows["factscore"].tolist()[:4] == pytest.approx([0.75, 0.5 * math.exp(-1.5), 1.0, 0.0])
    assert math.isnan(rows["factscore"]["a4"])
    assert made([(2, 2)], gamma=4.0)[0]["factscore"]["a0"] == 0.5


def test_parsed_claims_repeat_where_their_fact_does():
    _, answers, sentences, claims, told = made([(2, 1)])
    claims = claims.assign(relation=["r", "r", "q"], value=["1", "1", "1"])
    assert per_answer(answers, sentences, claims, told)["repeated"].tolist() == [1]


def test_what_is_wrong_with_the_tables_is_told_together():
    _, answers, sentences, claims, told = made([(2, 1), (1, 1)])
    with pytest.raises(InputError, match="1 claims of answers have no gold label, such as 'a0#1.0'"):
        per_answer(answers, sentences, claims.assign(supported=[True, None, True, True, True]), told)
    with pytest.raises(InputError, match="(?s)answers: id 'a0' occurs twice.*such as 'elsewhere'"):
        per_answer(answers.assign(id="a0", entity="elsewhere"), sentences, claims, told)
