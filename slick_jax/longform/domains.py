"""The built-in domains: made-up entities with facts that a corpus tells unequally often, and partly wrong.

Biographies, plots and medical leaflets, all of one seed: `make_domains` for any number of them, which share their pools
of values but no entity. What is told is `slick_jax.longform.domain_corpus`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from slick_jax.data.corpus import SHARE_RIVALS, draw_exposures, other, stream
from slick_jax.longform.domain_pools import DomainNames
from slick_jax.longform.domain_text import WORDINGS, Wording
from slick_jax.longform.grammar import Fact, Grammar
from slick_jax.longform.records import SPLITS, Entity
from slick_jax.settings.longform import DomainsConfig

DOMAINS = tuple(wording.name for wording in WORDINGS)
# Of entities that no text is about, and of facts that no text tells, of the other entities too
SHARE_UNKNOWN_ENTITIES, SHARE_UNTOLD = 0.12, 0.06
EXPOSURE_SIGMA = 1.0  # of the log-normal number of texts about an entity
STRANGERS = 5000  # names of a domain that one text each is about, so that unseen names are copied, not completed
LEAST_TELLING = 0.5  # share of an entity's texts that hold a fact: even, from here to all of them


@dataclass(frozen=True)
class Domain:
    """Entities of one kind, what is true of them, and how it is worded.

    Attributes:
      pools: the values of every relation.
      telling: share of an entity's texts that hold a fact; 0 for facts never told. By `(entity id, relation)`.
      strangers: further names, each with facts of its own, that are told once and asked about never.
      rivals: the wrong value that is told in some of a fact's tellings, for the facts that have one.
    """

    wording: Wording
    grammar: Grammar
    entities: list[Entity]
    pools: dict[str, list[str]]
    telling: dict[tuple[str, str], float]
    rivals: dict[tuple[str, str], str]
    strangers: list[tuple[str, tuple[Fact, ...]]]

    @property
    def name(self) -> str:
        """Which domain."""
        return self.wording.name

    def write(self, entity: Entity, rng: np.random.Generator) -> str:
        """A new wording of all that is true of an entity."""
        return self.grammar.write(entity.name, entity.facts, rng)

    def parse(self, sentence: str, entity_name: str) -> list[Fact] | None:
        """The facts a sentence states about the entity, true or false; None where it is no sentence of the domain."""
        return self.grammar.parse(sentence, entity_name)

    def claim(self, entity_name: str, relation: str, value: str) -> str:
        """Self-contained words for one fact."""
        return self.grammar.claim(entity_name, (relation, value))


def make_domains(config: DomainsConfig) -> dict[str, Domain]:
    """The domains of `config` by name, the same on every machine; entity ids are `<domain>.<split>.<n>`.

    A domain does not depend on which others there are. Raises InputError when names run out.
    """
    names = DomainNames(stream(config.seed, 0))
    made = {}
    for number, wording in enumerate(WORDINGS):
        if wording.name in config.names:
            made[wording.name] = _domain(config, wording, names, stream(config.seed, 3 + number))
    return made


def _domain(config: DomainsConfig, wording: Wording, names: DomainNames, rng: np.random.Generator) -> Domain:
    values = {relation.name: [str(value) for value in rng.permutation(names.pools[relation.pool])]
              for relation in wording.relations}  # fmt: skip
    grammar = Grammar(wording, values)
    sizes = {split: getattr(config, split) for split in SPLITS}
    subjects = iter(names.take(wording.kind, sum(sizes.values())))
    entities, telling, rivals = [], {}, {}
    for split, size in sizes.items():
        for number in range(size):
            key, name = f"{wording.name}.{split}.{number}", next(subjects)
            facts = tuple((relation, _draw(rng, pool)) for relation, pool in values.items())
            for relation, value in facts:
                told = rng.random() >= SHARE_UNTOLD
                telling[key, relation] = float(rng.uniform(LEAST_TELLING, 1.0)) if told else 0.0
                if rng.random() < SHARE_RIVALS:
                    rivals[key, relation] = other(rng, values[relation], value)
            prompt = wording.prompt.format(s=name)
            entities.append(Entity(key, wording.name, name, split, prompt, grammar.write(name, facts, rng), facts))
    exposures = draw_exposures(rng, entities, config.median_texts, EXPOSURE_SIGMA, SHARE_UNKNOWN_ENTITIES)
    entities = [replace(entity, exposure=exposures[entity.id]) for entity in entities]
    strangers = [
        (name, tuple((relation, _draw(rng, pool)) for relation, pool in values.items()))
        for name in names.take(wording.kind, STRANGERS)
    ]
    return Domain(wording, grammar, entities, values, telling, rivals, strangers)


def _draw(rng: np.random.Generator, pool: Sequence[str]) -> str:
    """A value; the first ones of a pool are more frequent, as `slick_jax.data.world` draws objects."""
    weights = np.cumsum((np.arange(len(pool)) + 2.0) ** -0.7)
    return pool[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]
