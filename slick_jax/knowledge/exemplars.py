"""Exemplar sets: drawn from the development rows of a relation, once for all its questions or for each question anew.

Paper section 3 and appendix C: N_ex distinct sets of k exemplars from the development split of the same relation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from slick_jax.data.examples import Example, same_text
from slick_jax.errors import InputError
from slick_jax.files.hashing import id_words

MAX_SETS = 128  # of a relation: each is a prefix to keep on the device
POOL_SIZE = 64  # rows an exemplar pool is drawn from where the data has no development split

Chosen = int | tuple[int, ...]  # an exemplar set: its number in the relation's stream, or its rows of the pool


class ExemplarSets:
    """The exemplar sets of one relation: a seeded stream of distinct sets, drawn as far as needed.

    The first `n_sets` are the run's sets, the next ones its reserves. The stream goes on behind the reserves for the
    rare question that is unclean in more sets than there are, `MAX_SETS` in all.
    """

    def __init__(self, relation: str, pool: Sequence[Example], size: int, seed: int):
        self.relation, self.size, self._seed = relation, size, seed
        self.pool = sorted(pool, key=lambda row: row.id)
        self._generator = np.random.default_rng([seed, *id_words(relation)])
        self._seen: set[frozenset[int]] = set()
        self._order: list[tuple[int, ...]] = []
        self._most = min(math.comb(len(self.pool), size), MAX_SETS)
        self._same: dict[tuple[str, str], set[int]] = {}  # (field, text) -> pool rows with it
        for index, row in enumerate(self.pool):
            for key in _identity(row):
                self._same.setdefault(key, set()).add(index)

    def get(self, chosen: Chosen) -> tuple[Example, ...]:
        """Set number `chosen` of the stream, IndexError past the last one; or the set of these rows of the pool."""
        return tuple(self.pool[i] for i in (chosen if isinstance(chosen, tuple) else self._set(chosen)))

    def assign(self, example: Example, n_sets: int) -> list[int]:
        """The n_sets set numbers `example` is asked behind: sets that hold the question itself or its subject are
        replaced by the first clean reserves.

        Raises InputError naming the row when the pool has too few clean sets.
        """
        unclean = self._unclean(example)
        numbers, reserve = [], n_sets
        try:
            for index in range(n_sets):
                if unclean.intersection(self._set(index)):
                    while unclean.intersection(self._set(reserve)):
                        reserve += 1
                    index, reserve = reserve, reserve + 1
                numbers.append(index)
        except IndexError:
            raise self._too_few(example, n_sets) from None
        return numbers

    def draw_for(self, example: Example, n_sets: int) -> list[tuple[int, ...]]:
        """n_sets distinct sets for `example` alone, as pool rows in the order of the prompt; none holds the question
        itself or its subject. They hang on the seed, the relation's pool and the id, not on any other question.

        Raises InputError naming the row when the pool has too few clean rows.
        """
        clean = np.setdiff1d(np.arange(len(self.pool)), list(self._unclean(example)))
        if len(clean) < self.size or math.comb(len(clean), self.size) < n_sets:
            raise self._too_few(example, n_sets)
        generator = np.random.default_rng([self._seed, *id_words(self.relation), *id_words(example.id)])
        drawn: dict[frozenset[int], tuple[int, ...]] = {}
        while len(drawn) < n_sets:
            members = clean[generator.choice(len(clean), self.size, replace=False)].tolist()
            drawn.setdefault(frozenset(members), tuple(members))
        return list(drawn.values())

    def _unclean(self, example: Example) -> set[int]:
        """Pool rows with the question itself or its subject."""
        return set().union(*(self._same.get(key, ()) for key in _identity(example)))

    def _too_few(self, example: Example, n_sets: int) -> InputError:
        shared = len(self._unclean(example))
        found = (
            f"row {example.id!r}: of the {len(self.pool)} exemplar rows of relation {self.relation!r}, {shared} share"
            " its question or subject, which leaves fewer than"
        )
        if math.comb(len(self.pool) - shared, self.size) < n_sets:
            return InputError(f"{found} {n_sets} sets of {self.size}; add rows about other subjects (data.dev_path)")
        return InputError(
            f"{found} {n_sets} of the {self._most} sets that the questions of a relation share; add rows about other"
            " subjects (data.dev_path), or set annotate.exemplars=per_question, which draws from all the others"
        )

    def _set(self, index: int) -> tuple[int, ...]:
        while len(self._order) <= index:
            if len(self._order) == self._most:
                raise IndexError(index)
            members = self._generator.choice(len(self.pool), self.size, replace=False).tolist()
            if frozenset(members) not in self._seen:
                self._seen.add(frozenset(members))
                self._order.append(tuple(members))
        return self._order[index]


def _identity(row: Example) -> list[tuple[str, str]]:
    """What makes two rows the same for the leak guard: id, normalised question, and normalised subject if any."""
    keys = [("id", row.id), ("question", same_text(row.question))]
    return [*keys, ("subject", same_text(row.subject))] if row.subject else keys


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
