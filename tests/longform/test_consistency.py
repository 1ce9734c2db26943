"""Consistency by hand: the share of other texts that state a fact, or the overlap with their best sentence."""

import numpy as np
import pytest

from slick_jax.errors import InputError
from slick_jax.longform.consistency import Consistency, content_words
from slick_jax.longform.records import Claim, Entity, Text

ENTITIES = {name: Entity(name, "lives", "Ann Lee", "test", "-", "-") for name in ("a", "b")}


def text(number, source="resampled", entity="a"):
    return Text(f"{entity}/{source}/{number}", entity, source, number, "-", 1)


def claim(of, words="-", fact=None):
    return Claim(f"{of.id}#0.0", of.id, of.entity, 0, words, fact)


BORN, MAYOR = ("born", "1900"), ("was", "mayor")


def test_facts_are_counted_over_all_other_texts():
    own, others = text(0, "generated"), [text(n) for n in range(4)]
    gold, elsewhere = text(0, "gold"), text(0, entity="b")
    told = [claim(own, fact=BORN), claim(others[0], fact=BORN), claim(others[0], fact=BORN),
            claim(others[1], fact=BORN), claim(others[1], fact=MAYOR), claim(gold, fact=MAYOR),
            claim(elsewhere, fact=MAYOR)]  # fmt: skip
    scorer = Consistency([own, *others, gold, elsewhere], told, {})  # texts 2 and 3 say nothing, and count
    asked = [claim(own, fact=BORN), claim(own, fact=MAYOR), claim(gold, fact=BORN), claim(others[1], fact=MAYOR),
             claim(own, fact=("born", "1901"))]  # fmt: skip
    # of a claim's own text nothing is learned; gold texts are not the model's
    np.testing.assert_allclose(scorer.score(asked, ENTITIES), [[2 / 4, 1 / 4, 3 / 5, 0, 0]])


def test_words_are_looked_up_in_the_best_sentence():
    own, others = text(0, "generated"), [text(n) for n in range(3)]
    sentences = {
        others[0].id: ["She was the Mayor of Bath.", "In 1950, she left."],  # mayor, bath; 1950
        others[1].id: ["Ann Lee wrote books."],
        own.id: ["Ann Lee was mayor of Bath in 1950."],
    }
    asked = [claim(own, "Ann Lee was mayor of Bath in 1950.")]
    found = Consistency([own, *others], [], sentences).score(asked, ENTITIES)
    np.testing.assert_allclose(found, [[(2 / 3 + 0 + 0) / 3]])


def test_negations_are_content():
    assert content_words("Ann Lee was not the mayor.", "Ann Lee") == {"not", "mayor"}


def test_a_claim_of_the_name_alone_keeps_it():
    own, other = text(0, "generated"), text(0)
    found = Consistency([own, other], [], {other.id: ["It is Ann."]}).score([claim(own, "Ann Lee.")], ENTITIES)
    np.testing.assert_allclose(found, [[0.5]])


def test_an_entity_without_another_text_is_named():
    own = text(0, "generated")
    with pytest.raises(InputError, match=r"1 entities \(a\) have no other text .*longform.resamples"):
        Consistency([own], [], {}).score([claim(own)], ENTITIES)
