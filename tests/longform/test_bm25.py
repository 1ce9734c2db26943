"""BM25 against values worked out by hand from the formula."""

import math

import numpy as np
import pytest

from slick_jax.longform.bm25 import Bm25, passages_of

PASSAGES = ["the cat sat on the mat", "the dog sat", "a bird sang of the sea and the sky"]  # 6, 3 and 9 words


def test_scores_are_those_of_the_formula():
    # Mean length 6: k1 (1 - b + b l / mean) is 1.5, 0.9375 and 2.0625.
    rare = math.log(1 + 2.5 / 1.5)  # in one passage of three
    two, every = math.log(1 + 1.5 / 2.5), math.log(1 + 0.5 / 3.5)
    bm25 = Bm25(PASSAGES)
    np.testing.assert_allclose(bm25.scores("Cat"), [rare * 2.5 / 2.5, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(bm25.scores("sat?"), [two * 2.5 / 2.5, two * 2.5 / 1.9375, 0], rtol=1e-12)
    the = [every * 2 * 2.5 / 3.5, every * 2.5 / 1.9375, every * 2 * 2.5 / 4.0625]
    np.testing.assert_allclose(bm25.scores("the"), the, rtol=1e-12)
    np.testing.assert_allclose(bm25.scores("the sat, THE"), 2 * bm25.scores("the") + bm25.scores("sat"), rtol=1e-12)
    assert (bm25.scores("unheard words") == 0).all()


def test_other_constants():
    assert Bm25(PASSAGES, k1=0.0).scores("the") == pytest.approx([math.log(1 + 0.5 / 3.5)] * 3)  # presence alone
    by_length = Bm25(["x", "x y y y y y y"], b=0.0).scores("x")
    assert by_length[0] == by_length[1]


def test_the_best_come_first_and_ties_in_order():
    bm25 = Bm25(PASSAGES)
    assert bm25.best("the dog", 2) == [PASSAGES[1], PASSAGES[0]]
    assert bm25.best("nothing", 5) == PASSAGES
    assert Bm25([]).best("nothing", 5) == [] and Bm25(["..."]).best("a", 5) == ["..."]


def test_passages_are_whole_sentences():
    text = "One two three. Four five. Six seven eight nine ten eleven. Twelve."
    assert passages_of(text, 5) == ["One two three. Four five.", "Six seven eight nine ten eleven.", "Twelve."]
    assert passages_of("") == []
