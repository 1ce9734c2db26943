"""Exemplar sets: drawn per relation from its development rows, with reserves against leaked answers.

Paper section 3 and appendix C: N_ex distinct sets of k exemplars from the development split of the same relation.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from slick_jax.data.examples import Example
from slick_jax.errors import InputError
from slick_jax.sampling.logits import id_words

POOL_SIZE = 64  # rows an exemplar pool is drawn from where the data has no development split


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split())


@dataclasses.dataclass
class ExemplarSets:
    """The exemplar sets of one relation: an endless seeded stream of distinct sets, drawn as far as needed.

    `sets[:n_sets]` are the run's sets, the following `n_reserve` its reserves. The stream goes on behind them for the
    rare question that is unclean in more sets than there are reserves.
    """

    relation: str
    pool: Sequence[Example]
    size: int
    seed: int

    def __post_init__(self):
        self.pool = sorted(self.pool, key=lambda row: row.id)
        self._generator = np.random.default_rng([self.seed, *id_words(self.relation)])
        self._seen: set[frozenset[int]] = set()
        self._most = math.comb(len(self.pool), self.size)
        self.sets: list[tuple[Example, ...]] = []

    def get(self, index: int) -> tuple[Example, ...]:
        """Set number `index` of the stream; IndexError when every distinct set has been drawn."""
        while len(self.sets) <= index:
            if len(self._seen) == self._most:
                raise IndexError(index)
            members = self._generator.choice(len(self.pool), self.size, replace=False)
            if frozenset(members.tolist()) not in self._seen:
                self._seen.add(frozenset(members.tolist()))
                self.sets.append(tuple(self.pool[i] for i in members))
        return self.sets[index]

    def clean(self, index: int, example: Example) -> bool:
        """Whether set `index` holds neither the question itself nor its subject."""
        question = _normalised(example.question)
        subject = _normalised(example.subject) if example.subject else None
        for row in self.get(index):
            if row.id == example.id or _normalised(row.question) == question:
                return False
            if subject is not None and row.subject is not None and _normalised(row.subject) == subject:
                return False
        return True

    def assign(self, example: Example, n_sets: int) -> list[int]:
        """The n_sets set numbers `example` is asked behind: unclean ones replaced by the first clean reserves.

        Raises InputError naming the row when the pool has too few clean sets.
        """
        reserves = self._clean_from(n_sets, example)
        try:
            return [index if self.clean(index, example) else next(reserves) for index in range(n_sets)]
        except StopIteration:
            raise InputError(
                f"row {example.id!r}: the exemplar pool of relation {self.relation!r} ({len(self.pool)} rows) has fewer"
                f" than {n_sets} sets of {self.size} without this question or its subject; add development rows"
                " (data.dev_path)"
            ) from None

    def _clean_from(self, index: int, example: Example) -> Iterator[int]:
        while True:
            try:
                if self.clean(index, example):
                    yield index
            except IndexError:
                return
            index += 1


def pools(
    examples: Iterable[Example], dev: Iterable[Example], own: Iterable[Example], seed: int
) -> dict[str, list[Example]]:
    """Exemplar pool of every relation of `examples`: its development rows `dev`, or without any development split
    `POOL_SIZE` of the data's `own` rows of that relation, drawn by seed."""
    by_relation: dict[str, list[Example]] = {row.relation: [] for row in examples}
    dev = list(dev)
    for row in dev or own:
        if row.relation in by_relation:
            by_relation[row.relation].append(row)
    if dev:
        return by_relation
    for relation, rows in by_relation.items():
        rows.sort(key=lambda row: row.id)
        if len(rows) > POOL_SIZE:
            generator = np.random.default_rng([seed, *id_words(relation), POOL_SIZE])
            by_relation[relation] = [rows[i] for i in generator.choice(len(rows), POOL_SIZE, replace=False)]
    return by_relation


def draw_sets(
    pools: dict[str, list[Example]], *, n_sets: int, n_reserve: int, size: int, seed: int
) -> dict[str, ExemplarSets]:
    """Exemplar sets of every relation. Raises one InputError naming each relation whose pool is too small."""
    needed = next(n for n in range(size, size + n_sets + n_reserve + 1) if math.comb(n, size) >= n_sets + n_reserve)
    small = {relation: len(rows) for relation, rows in pools.items() if len(rows) < needed}
    if small:
        raise InputError.of(
            [
                f"relation {relation!r} has {count} exemplar rows, {needed} are needed for {n_sets} + {n_reserve}"
                f" distinct sets of {size}: add development rows (data.dev_path), or leave the relation out of its rows"
                for relation, count in sorted(small.items())
            ],
            "too few exemplars:",
        )
    drawn = {relation: ExemplarSets(relation, rows, size, seed) for relation, rows in pools.items()}
    for sets in drawn.values():
        sets.get(n_sets + n_reserve - 1)
    return drawn
