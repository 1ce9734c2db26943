"""The built-in domains: counts, pools, splits, and that a seed fixes them."""

import collections
import dataclasses

import numpy as np
import pytest

from slick_jax.errors import InputError
from slick_jax.longform.domains import DOMAINS, LEAST_TELLING, DomainsConfig, make_domains
from slick_jax.longform.records import SPLITS


@pytest.fixture(scope="module")
def domains():
    return make_domains(DomainsConfig())


def test_splits_are_disjoint_and_as_large_as_asked(domains):
    entities = [entity for domain in domains.values() for entity in domain.entities]
    assert len({entity.id for entity in entities}) == len({entity.name for entity in entities}) == len(entities)
    for domain in domains.values():
        assert collections.Counter(entity.split for entity in domain.entities) == {
            split: getattr(DomainsConfig(), split) for split in SPLITS
        }
        for entity in domain.entities:
            assert entity.id.startswith(f"{domain.name}.{entity.split}.") and entity.domain == domain.name


def test_every_entity_has_one_value_of_each_pool(domains):
    for domain in domains.values():
        assert len(domain.pools) >= 8
        used = collections.defaultdict(collections.Counter)
        for entity in domain.entities:
            assert [relation for relation, _ in entity.facts] == list(domain.pools)
            assert entity.prompt.count(entity.name) == 1 and entity.name in entity.reference
            for relation, value in entity.facts:
                used[relation][value] += 1
        for relation, pool in domain.pools.items():
            assert len(pool) == len(set(pool)) >= 12
            assert set(used[relation]) <= set(pool) and len(used[relation]) > 0.6 * len(pool)
            assert used[relation].most_common(1)[0][1] / len(domain.entities) < 0.25  # no value can just be guessed


def test_no_entity_is_named_as_a_value(domains):
    names = {entity.name for domain in domains.values() for entity in domain.entities}
    assert names.isdisjoint(value for domain in domains.values() for pool in domain.pools.values() for value in pool)


def test_exposure_is_graded_in_every_split(domains):
    for domain in domains.values():
        for split in SPLITS:
            told = np.array([entity.exposure for entity in domain.entities if entity.split == split])
            assert np.mean(told == 0) == pytest.approx(0.12, abs=0.01)
            assert told.max() > 3 * np.median(told[told > 0])
        told = np.array([entity.exposure for entity in domain.entities if entity.exposure])
        assert np.median(told) == pytest.approx(DomainsConfig().median_texts, rel=0.2)
        assert np.log(told[told > 2]).std() == pytest.approx(1.0, abs=0.1)


def test_shares_of_facts_told_and_rivals(domains):
    for domain in domains.values():
        shares = np.array(list(domain.telling.values()))
        assert len(shares) == len(domain.entities) * len(domain.pools)
        assert np.mean(shares == 0) == pytest.approx(0.06, abs=0.015)
        assert shares[shares > 0].min() >= LEAST_TELLING
        assert len(domain.rivals) / len(shares) == pytest.approx(0.20, abs=0.02)
        true = {entity.id: dict(entity.facts) for entity in domain.entities}
        for (entity, relation), rival in domain.rivals.items():
            assert rival in domain.pools[relation] and rival != true[entity][relation]


def test_a_domain_does_not_hang_on_the_others(domains):
    for name in DOMAINS:
        assert make_domains(DomainsConfig(names=(name,)))[name].entities == domains[name].entities


def test_another_seed_is_another_world(domains):
    other = make_domains(DomainsConfig(seed=1))["plots"].entities
    assert {entity.name for entity in other} != {entity.name for entity in domains["plots"].entities}


def test_more_entities_than_names_are_refused():
    with pytest.raises(InputError, match="only 6400 more names of kind 'plot'"):
        make_domains(dataclasses.replace(DomainsConfig(), train=7000, names=("plots",)))
