"""Sentences of the built-in domains: parsing undoes writing, for every template and every value."""

import itertools
import re

import numpy as np
import pytest

from slick_jax.longform.domain_text import BIOGRAPHIES, WORDINGS
from slick_jax.longform.domains import DomainsConfig, make_domains

SMALL = DomainsConfig(probe=4, train=4, dev=4, test=4)
DOMAINS = make_domains(SMALL)
NAMES = [wording.name for wording in WORDINGS]


def slots(template):
    return [slot for slot in re.findall(r"{(\w+)}", template) if slot != "s"]


@pytest.mark.parametrize("name", NAMES)
def test_every_template_with_every_value_parses_back_and_to_nothing_else(name):
    domain = DOMAINS[name]
    entity = domain.entities[0]
    for template in domain.grammar.templates:
        stated = slots(template)
        longest = max(len(domain.pools[relation]) for relation in stated)
        for number in range(longest):  # all values of each; of pairs, shifted against each other
            facts = [(r, domain.pools[r][(number + 7 * i) % len(domain.pools[r])]) for i, r in enumerate(stated)]
            sentence = template.format(s=entity.name, **dict(facts))
            assert domain.parse(sentence, entity.name) == facts, sentence
            matching = [p for p in domain.grammar._patterns if p.fullmatch(sentence.replace(entity.name, "\0", 1))]
            assert len(matching) == 1, sentence


@pytest.mark.parametrize("name", NAMES)
def test_short_mentions_parse_too(name):
    domain = DOMAINS[name]
    entity, wording = domain.entities[1], domain.wording
    values = dict(entity.facts)
    for template in domain.grammar.templates:
        mentions = list(wording.pronouns) if template.startswith("{s}") else []
        mentions += [entity.name.split()[-1]] if wording.surname else []
        for mention in mentions:
            stated = slots(template)
            found = domain.parse(template.format(s=mention, **values), entity.name)
            assert found == [(relation, values[relation]) for relation in stated], (template, mention)


def test_a_relative_may_share_the_surname():
    domain = DOMAINS["biographies"]
    spouse = surname = domain.pools["spouse"][0]
    name = f"Onla {surname}"
    for mention in (name, surname, "He", "She"):
        assert domain.parse(f"{mention} married {spouse}.", name) == [("spouse", spouse)]
    assert domain.parse(f"The spouse of {surname} was {spouse}.", name) == [("spouse", spouse)]


@pytest.mark.parametrize("name", NAMES)
def test_texts_hold_every_fact_once_in_order_and_many_wordings(name):
    domain = DOMAINS[name]
    rng = np.random.default_rng(0)
    order = [relation.name for relation in domain.wording.relations]
    seen, lengths = set(), set()
    for entity in domain.entities:
        text = domain.write(entity, rng)
        sentences = re.split(r"(?<=\.) ", text)
        found = [domain.parse(sentence, entity.name) for sentence in sentences]
        assert sorted(itertools.chain(*found)) == sorted(entity.facts)
        firsts = [min(order.index(relation) for relation, _ in facts) for facts in found]
        assert firsts == sorted(firsts)
        assert entity.name in sentences[0]
        seen.add(text)
        lengths.add(len(sentences))
    assert len(seen) == len(domain.entities) and len(lengths) > 1


@pytest.mark.parametrize("name", NAMES)
def test_claims_name_the_entity_and_parse(name):
    domain = DOMAINS[name]
    entity = domain.entities[2]
    for relation, pool in domain.pools.items():
        for value in pool:
            claim = domain.claim(entity.name, relation, value)
            assert entity.name in claim and domain.parse(claim, entity.name) == [(relation, value)]


def test_wrong_values_of_the_pool_parse_as_false_facts():
    domain = DOMAINS["leaflets"]
    entity = domain.entities[0]
    for relation, value in entity.facts:
        wrong = next(other for other in domain.pools[relation] if other != value)
        parsed = domain.parse(domain.claim(entity.name, relation, wrong), entity.name)
        assert parsed == [(relation, wrong)] and parsed[0] not in entity.facts


def test_blanks_before_punctuation_do_not_matter():
    domain = DOMAINS["biographies"]
    entity = domain.entities[0]
    facts = dict(entity.facts)
    sentence = f"After years at {facts['education']} ,  {entity.name} turned to {facts['field']} ."
    assert domain.parse(sentence, entity.name) == [("education", facts["education"]), ("field", facts["field"])]


@pytest.mark.parametrize(
    "change",
    [
        lambda s, v: s.removesuffix("."),
        lambda s, v: s + " " + s,
        lambda s, v: s.replace(v, ""),
        lambda s, v: s.replace(v, "Nowhere"),
        lambda s, v: s.replace(v, f"{v} {v}"),
        lambda s, v: s.replace("was", "is"),
        lambda s, v: s.replace("Aa Bb", "Aa Cc"),
        lambda s, v: s.replace("Aa Bb", "They"),
        lambda s, v: s.replace("Aa Bb", "aa bb"),
        lambda s, v: f"Perhaps {s}",
        lambda s, v: f"The birthplace of He was {v}.",
        lambda s, v: "",
    ],
)
def test_malformed_sentences_do_not_parse(change):
    domain = DOMAINS["biographies"]
    value = domain.pools["birthplace"][0]
    sentence = f"Aa Bb was born in {value}."
    assert domain.parse(sentence, "Aa Bb") == [("birthplace", value)]
    assert domain.parse(change(sentence, value), "Aa Bb") is None


def test_a_value_of_another_pool_does_not_parse():
    domain = DOMAINS["biographies"]
    assert domain.parse(f"Aa Bb lived in {domain.pools['birthplace'][0]}.", "Aa Bb") is None


def test_pronouns_agree_with_the_name():
    domain = DOMAINS["biographies"]
    rng = np.random.default_rng(1)
    text = " ".join(domain.grammar.write("Onla Brek", domain.entities[0].facts, rng) for _ in range(20))
    other = " ".join(domain.grammar.write("Gordust Brek", domain.entities[0].facts, rng) for _ in range(20))
    assert "She " in text and "He " not in text and "He " in other and "She " not in other
    assert set(BIOGRAPHIES.pronouns) == {"He", "She"}
