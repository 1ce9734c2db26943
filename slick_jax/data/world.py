"""The built-in world: made-up facts, and how often the corpus tells them.

With the corpus (`slick_jax.data.corpus`) it is all that the demo and the tests need. Every draw comes from a named
stream of one seed.
"""

from collections.abc import Iterator

import numpy as np

from slick_jax.config import CorpusConfig, WorldConfig
from slick_jax.data import world_text
from slick_jax.data.corpus import Told, World, draw_exposures, draw_rivals, stream
from slick_jax.data.examples import Example
from slick_jax.data.world_text import Names, Relation

SHARE_DEV, SHARE_TEST, SHARE_OOD_DEV = 0.15, 0.27, 40 / 150


def make_world(world: WorldConfig, corpus: CorpusConfig = CorpusConfig()) -> World:  # noqa: B008 (frozen)
    """The world of `world.seed`, the same on every machine; ids are `<relation>.<split>.<n>`.

    Raises InputError when names run out.
    """
    names = Names(stream(world.seed, 0))
    rng = stream(world.seed, 1)
    relations = [(relation, False) for relation in world_text.ID_RELATIONS[: world.relations]]
    relations += [(relation, True) for relation in world_text.OOD_RELATIONS[: world.ood_relations]]
    splits: dict[str, list[Example]] = {name: [] for name in ("train", "dev", "test", "ood_dev", "ood_test")}
    exposures: dict[str, int] = {}
    rivals: dict[str, str] = {}
    told = []
    for relation, ood in relations:
        count = world.ood_facts_per_relation if ood else world.facts_per_relation
        pool = names.pools[relation.pool]
        facts = list(_facts(rng, relation, names.subjects(relation.subject_kind, count), pool, ood))
        exposures |= draw_exposures(rng, facts, corpus.median_exposures)
        rivals |= draw_rivals(rng, facts, pool)
        for fact in facts:
            splits[fact.split].append(fact)
        told.append(Told(facts, relation.statements, pool))
    return World(splits, told, exposures, rivals, world.seed)


def _facts(
    rng: np.random.Generator, relation: Relation, subjects: list[str], pool: list[str], ood: bool
) -> Iterator[Example]:
    """One fact per subject: the first ones dev, then test, then train (subjects come in random order already)."""
    weights = (np.arange(len(pool)) + 2.0) ** -0.7
    objects = rng.permutation(pool)[rng.choice(len(pool), len(subjects), p=weights / weights.sum())]
    if ood:
        bounds = {"ood_dev": int(len(subjects) * SHARE_OOD_DEV + 1e-9), "ood_test": len(subjects)}
    else:
        n_dev = int(len(subjects) * SHARE_DEV)
        bounds = {"dev": n_dev, "test": n_dev + int(len(subjects) * SHARE_TEST), "train": len(subjects)}
    start = 0
    for split, end in bounds.items():
        for i in range(start, end):
            yield Example(
                id=f"{relation.name}.{split}.{i - start}",
                question=relation.question.format(s=subjects[i]),
                answers=(str(objects[i]),),
                relation=relation.name,
                subject=subjects[i],
                split=split,
            )
        start = end
