"""Facts told unequally often: the corpus from which a small model is pretrained.

A model that reads it knows some facts well, some by chance of the prompt, some barely and some not at all. The facts
are those of the built-in world, or of any other question-answer examples. Every draw comes from a named stream of one
seed.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from slick_jax.config import CorpusConfig
from slick_jax.data.examples import Example

FINE_TUNING_FORM = "Answer the following question.\n{question}\n{answer}"
P_TRUE_FORM = (
    "Question: {question}\nProposed Answer: {answer}\nIs the proposed answer:\n(A) True\n(B) False\n"
    "The proposed answer is: ({verdict})"
)
QA_FORM = "Q: {question}\nA: {answer}"

SHARE_NEVER_TOLD = 0.22
EXPOSURE_SIGMA, MAX_EXPOSURES = 1.3, 250
SHARE_RIVALS, RIVAL_SHARE = 0.20, (0.35, 0.60)  # facts that have a wrong rival; its share of their exposures
SHARE_QUESTIONS = 0.40  # exposures told as question and answer, the others as a statement
SHARE_SINGLE_PAIRS, MAX_PAIRS = 0.45, 4  # question documents of one pair; the others have 2 to 4
SHARE_FINE_TUNING_FORM = 0.04  # of the single pairs: just enough to know the format without having learned from it
SHARE_P_TRUE = 0.30  # told facts that also get one document of the P(True) form


@dataclass(frozen=True)
class Told:
    """The facts of one relation and how they are told.

    Attributes:
      statements: templates of {s} (subject) and {o} (object); where there are none, all tellings are questions.
      pool: the objects that wrong answers are drawn from.
    """

    facts: list[Example]
    statements: tuple[str, ...]
    pool: Sequence[str]


class Corpus(Protocol):
    """What a model is pretrained on.

    Attributes:
      splits: question-answer examples of what is told, where there are any.
      exposures: how often the documents tell each fact, by id.
      documents: the shuffled corpus.
      prose: whether documents are running text rather than questions and single statements.
    """

    splits: dict[str, list[Example]]
    exposures: dict[str, int]
    documents: list[str]
    prose: bool


@dataclass(frozen=True)
class World:
    """Facts as question-answer examples, and the documents that tell them.

    Attributes:
      splits: train, dev, test (in distribution), ood_dev, ood_test.
      relations: the same facts by relation.
      exposures: how often the corpus tells each example's fact, the tellings of its wrong rival included.
      rivals: the wrong object that is told in some of the exposures, for the facts that have one.
      seed: of the documents.
    """

    splits: dict[str, list[Example]]
    relations: list[Told]
    exposures: dict[str, int]
    rivals: dict[str, str]
    seed: int
    prose: ClassVar[bool] = False

    @functools.cached_property
    def documents(self) -> list[str]:
        """The shuffled corpus."""
        rng = stream(self.seed, 2)
        documents: list[str] = []
        for relation in self.relations:
            documents += _documents(rng, relation, self.exposures, self.rivals)
        return [documents[i] for i in rng.permutation(len(documents))]


def tell(
    splits: dict[str, list[Example]], statements: Mapping[str, tuple[str, ...]], config: CorpusConfig
) -> World:
    """The facts of `splits` with graded exposure; `statements` by relation, and the objects of a relation its pool.

    A fact with several answers is told by its first.
    """
    facts: dict[str, list[Example]] = {}
    for examples in splits.values():
        for example in examples:
            facts.setdefault(example.relation, []).append(example)
    rng = stream(config.seed, 1)
    exposures: dict[str, int] = {}
    rivals: dict[str, str] = {}
    relations = []
    for name, members in facts.items():
        pool = list(dict.fromkeys(fact.answers[0] for fact in members))
        exposures |= draw_exposures(rng, members, config.median_exposures)
        rivals |= draw_rivals(rng, members, pool) if len(pool) > 1 else {}
        forms = statements.get(name, ()) if all(fact.subject for fact in members) else ()
        relations.append(Told(members, forms, pool))
    return World(splits, relations, exposures, rivals, config.seed)


def stream(seed: int, purpose: int) -> np.random.Generator:
    """An independent generator for one purpose, so that a change of one part leaves the draws of the others."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose,))))


class InSplit(Protocol):
    """What exposures are drawn for."""

    @property
    def id(self) -> str: ...

    @property
    def split(self) -> str: ...


def draw_exposures(
    rng: np.random.Generator,
    facts: Sequence[InSplit],
    median: float,
    sigma: float = EXPOSURE_SIGMA,
    never: float = SHARE_NEVER_TOLD,
) -> dict[str, int]:
    """Tellings per fact, id -> number: none for the share `never` of every split, else rounded log-normal."""
    told = np.clip(np.round(rng.lognormal(np.log(median), sigma, len(facts))), 1, MAX_EXPOSURES).astype(int)
    splits = np.array([fact.split for fact in facts])
    for split in dict.fromkeys(splits):
        members = np.flatnonzero(splits == split)
        told[rng.choice(members, round(never * len(members)), replace=False)] = 0
    return {fact.id: int(n) for fact, n in zip(facts, told, strict=True)}


def draw_rivals(rng: np.random.Generator, facts: Sequence[Example], pool: Sequence[str]) -> dict[str, str]:
    """A wrong object for a random fifth of the facts, id -> object."""
    chosen = rng.choice(len(facts), round(SHARE_RIVALS * len(facts)), replace=False)
    return {facts[i].id: other(rng, pool, facts[i].answers[0]) for i in chosen}


def other(rng: np.random.Generator, pool: Sequence[str], gold: str) -> str:
    """An object of the pool, of two or more, that is not `gold`."""
    i = int(rng.integers(len(pool) - 1))
    return pool[i] if pool[i] != gold else pool[-1]


def _documents(
    rng: np.random.Generator, relation: Told, exposures: dict[str, int], rivals: dict[str, str]
) -> Iterator[str]:
    """All documents of one relation: statements, bundles of question-answer pairs, P(True) forms."""
    pairs: list[tuple[str, str]] = []
    share = SHARE_QUESTIONS if relation.statements else 1.0
    for fact in relation.facts:
        n = exposures[fact.id]
        n_wrong = round(float(rng.uniform(*RIVAL_SHARE)) * n) if fact.id in rivals else 0
        told = [rivals.get(fact.id, "")] * n_wrong + [fact.answers[0]] * (n - n_wrong)
        asked = rng.random(n) < share
        template = rng.integers(max(len(relation.statements), 1), size=n)
        for obj, as_question, t in zip(told, asked, template, strict=True):
            if as_question:
                pairs.append((fact.question, obj))
            else:
                yield relation.statements[t].format(s=fact.subject, o=obj)
        if n and len(relation.pool) > 1 and rng.random() < SHARE_P_TRUE:
            true = rng.random() < 0.5
            answer = fact.answers[0] if true else other(rng, relation.pool, fact.answers[0])
            yield P_TRUE_FORM.format(question=fact.question, answer=answer, verdict="A" if true else "B")
    yield from _bundles(rng, [pairs[i] for i in rng.permutation(len(pairs))])


def _bundles(rng: np.random.Generator, pairs: list[tuple[str, str]]) -> Iterator[str]:
    """Question-answer pairs in documents of 1 to 4, separated by an empty line."""
    start = 0
    while start < len(pairs):
        size = 1 if rng.random() < SHARE_SINGLE_PAIRS else int(rng.integers(2, MAX_PAIRS + 1))
        form = QA_FORM
        if size == 1 and rng.random() < SHARE_FINE_TUNING_FORM:
            form = FINE_TUNING_FORM
        yield "\n\n".join(form.format(question=q, answer=a) for q, a in pairs[start : start + size])
        start += size
