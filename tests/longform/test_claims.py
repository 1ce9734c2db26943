"""Texts to claims: nothing moves when texts are empty, abstain, or do not parse."""

import pytest

from slick_jax.longform.claims import ByGrammar, BySentence, Found, abstains, claims_of, self_contained
from slick_jax.longform.records import Entity, Text

ENTITIES = {
    name: Entity(f"bio/{name}", "bio", f"{name} Berg", "test", "Who?", "x.") for name in ("Ann", "Bob", "Cai")
}
ENTITIES = {entity.id: entity for entity in ENTITIES.values()}


class Small:
    """'<name> was born in <place> in <year>.' or 'About <name>.', which says nothing."""

    def parse(self, sentence, entity_name):
        words = sentence.rstrip(".").split()
        if sentence == f"About {entity_name}.":
            return []
        if words[2:5] != ["was", "born", "in"] or len(words) != 8:
            return None
        return [("place", words[5]), ("year", words[7]), ("place", words[5])]

    def claim(self, entity_name, relation, value):
        return f"{entity_name}'s {relation} of birth is {value}."


def text(entity, sample, words, truncated=False):
    return Text(f"bio/{entity}/generated/{sample}", f"bio/{entity}", "generated", sample, words, 9, truncated)


TEXTS = [
    text("Ann", 1, "About Ann Berg. Ann Berg was born in Oslo in 1903."),
    text("Ann", 2, ""),
    text("Bob", 1, "I don't know who that is. Bob Berg was born in Rome in 1900."),
    text("Bob", 2, "Gibberish here. Bob Berg was born in Rome in 1901. Bob Berg was born in Ro", truncated=True),
    text("Cai", 1, "  \n\n"),
    text("Cai", 2, "Cai Berg was born in Bonn in 1905."),
]


def test_claims_by_grammar_keep_their_places():
    found = claims_of(TEXTS, ENTITIES, ByGrammar(Small()))
    assert found.method == "grammar"
    rows = [(row["text_id"][4:], row["sentence"], row["parsed"]) for row in found.sentences]
    assert rows == [
        ("Ann/generated/1", 0, True), ("Ann/generated/1", 1, True),
        ("Bob/generated/1", 0, None), ("Bob/generated/1", 1, None),  # an abstention: nothing is made of it
        ("Bob/generated/2", 0, False), ("Bob/generated/2", 1, True), ("Bob/generated/2", 2, None),  # cut
        ("Cai/generated/2", 0, True),
    ]  # fmt: skip
    assert [(claim.id[4:], claim.fact) for claim in found.claims] == [
        ("Ann/generated/1#1.0", ("place", "Oslo")), ("Ann/generated/1#1.1", ("year", "1903")),
        ("Bob/generated/2#1.0", ("place", "Rome")), ("Bob/generated/2#1.1", ("year", "1901")),
        ("Cai/generated/2#0.0", ("place", "Bonn")), ("Cai/generated/2#0.1", ("year", "1905")),
    ]  # fmt: skip
    for claim in found.claims:
        assert claim.id == f"{claim.text}#{claim.sentence}.{claim.id[-1]}" and claim.text.startswith(claim.entity)
        assert claim.claim == Small().claim(ENTITIES[claim.entity].name, *claim.fact)
    assert found.counts == {
        "texts": 6, "empty": 2, "abstained": 1, "sentences": 8, "cut": 1, "parsed": 4, "unparsed": 1, "fell_back": 0,
        "claims": 6,
    }  # fmt: skip


def test_empty_texts_move_nothing():
    """Each text's claims are those it has alone, whatever stands around it."""
    for method in (ByGrammar(Small()), BySentence()):
        together = claims_of(TEXTS, ENTITIES, method)
        alone = [claims_of([one], ENTITIES, method) for one in TEXTS]
        assert together.claims == [claim for one in alone for claim in one.claims]
        assert together.sentences == [row for one in alone for row in one.sentences]
        assert together.counts == sum((one.counts for one in alone), start=together.counts.__class__())


def test_claims_by_sentence_name_their_entity():
    texts = [text("Ann", 1, "She was born in Oslo. Ms. Berg died in 1990. Then Anna came.")]
    found = claims_of(texts, ENTITIES, BySentence())
    assert found.method == "sentence"
    assert [claim.claim for claim in found.claims] == [
        "Ann Berg: She was born in Oslo.", "Ms. Berg died in 1990.", "Ann Berg: Then Anna came.",
    ]  # fmt: skip
    assert all(claim.fact is None for claim in found.claims) and found.sentences[0]["parsed"] is None


def test_a_whole_last_sentence_of_a_cut_text_counts():
    found = claims_of([text("Ann", 1, "One. Two.", True), text("Ann", 2, "One. Two", True)], ENTITIES, BySentence())
    assert [claim.id[4:] for claim in found.claims] == [
        "Ann/generated/1#0.0", "Ann/generated/1#1.0", "Ann/generated/2#0.0",
    ]  # fmt: skip
    assert found.counts["cut"] == 1


def test_no_texts_and_none_with_claims():
    assert claims_of([], ENTITIES, BySentence()).claims == []
    found = claims_of([text("Ann", 1, "")], ENTITIES, ByGrammar(Small()))
    assert found.claims == [] and found.counts["empty"] == 1


def test_a_method_that_loses_a_sentence_is_an_error():
    class Lossy:
        name = "lossy"

        def __call__(self, asked):
            return [Found([("x", None)])] * (len(asked) - 1)

    with pytest.raises(ValueError, match="zip"):
        claims_of(TEXTS, ENTITIES, Lossy())


@pytest.mark.parametrize("words", ["I don't know.", "I DON’T KNOW who she is", "I'm sorry, but no.", "I cannot say."])
def test_abstentions(words):
    assert abstains(words)


@pytest.mark.parametrize("words", ["", "I don'ts", "She said: I don't know.", "I can", "Nobody"])
def test_no_abstentions(words):
    assert not abstains(words)


def test_names_of_short_words():
    assert self_contained("Bo Li", "Li was here.") == "Li was here."
    assert self_contained("Bo Li", "He was here.") == "Bo Li: He was here."

def test_words_of_grammar_in_a_title_do_not_name_it():
    assert self_contained("The Third Man", "It is set in the city.") == "The Third Man: It is set in the city."
    assert self_contained("War and Peace", "It was long and sold well.") == "War and Peace: It was long and sold well."
    assert self_contained("The Third Man", "The third man is Lime.") == "The third man is Lime."
    assert self_contained("It", "It is a film.") == "It is a film."


def test_references_and_titles_do_not_abstain():
    title = Entity("f", "plots", "I Don't Know How She Does It", "test", "Tell.", "A film.")
    written = "I Don't Know How She Does It is a film."
    silent = [Text("1", "f", "generated", 0, "I don't know.", 4), Text("2", "f", "generated", 1, written, 9)]
    told = Text("3", "f", "gold", 0, "I can't say is a song of hers.", 9)
    found = claims_of([*silent, told], {"f": title}, BySentence())
    assert found.counts["abstained"] == 1 and [claim.text for claim in found.claims] == ["2", "3"]
