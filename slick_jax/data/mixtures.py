"""What controlled mixtures are drawn from (paper section 4 and appendix E): rows, permutations, sizes, D(X %).

Every relation has one fixed permutation of its examples, and every variant takes prefixes of it, so that neighbouring
variants share examples. An example's place hangs on the seed, its relation and its id alone, never on other rows.
`slick_jax.data.recipes` makes the variants.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from slick_jax.categories import CATEGORIES, UNKNOWN
from slick_jax.errors import InputError

MAX_RELATIONS = 20  # named in an error
TAIL, REPLAY = "tail", "replay"  # roles of rows


@dataclasses.dataclass(frozen=True)
class Annotated:
    """A training example with its knowledge category; `answer` is what training teaches and what counts as fitted.

    ending: written behind the answer, as R-Tuning does; role: '' or TAIL, kept at the end of every epoch in the
    order of the mixture; times: how often it comes in an epoch.
    """

    id: str
    relation: str
    category: str
    question: str
    answer: str
    ending: str = ""
    role: str = ""
    times: int = 1


@dataclasses.dataclass(frozen=True)
class Unrelated:
    """A row to replay that tells no fact of the data: of no category, and never asked. prompt: '' for plain text."""

    id: str
    prompt: str
    completion: str


Row = Annotated | Unrelated

# {relation: {category, or 'Known': its examples in the order of the permutation}}
Permutations = dict[str, dict[str, list[Annotated]]]


@dataclasses.dataclass(frozen=True)
class Draws:
    """What all variants are drawn from; sizes: examples of every relation, the same in all variants of size |D|.

    order: relations in the order in which they take Unknown examples; unrelated: rows that may be replayed.
    """

    ordered: Permutations
    sizes: dict[str, int]
    order: Sequence[str]
    seed: int
    unrelated: Sequence[Unrelated] = ()

    @classmethod
    def of(cls, rows: Iterable[Annotated], size: str, seed: int, unrelated: Sequence[Unrelated] = ()) -> Draws:
        """Raises InputError for a size that the rows do not allow (see `relation_sizes`)."""
        ordered = permutations(rows, seed)
        sizes = relation_sizes(ordered, size)
        return cls(ordered, sizes, unknown_order(sizes), seed, unrelated)

    @property
    def total(self) -> int:
        """|D|."""
        return sum(self.sizes.values())

    def mixed(self, percent: int) -> list[Annotated]:
        """D(X %): the first Unknown examples of every permutation, and its first Known ones up to the relation's size.

        By relation, Unknown before Known, each in the order of the permutation.
        """
        unknown = Counter(self.order[: (len(self.order) * percent + 50) // 100])
        return [
            row
            for relation, n in self.sizes.items()
            for row in self.ordered[relation][UNKNOWN][: unknown[relation]]
            + self.ordered[relation]["Known"][: n - unknown[relation]]
        ]


def permutations(rows: Iterable[Annotated], seed: int) -> Permutations:
    """Every relation's examples in the order of its permutation, by category and those of all Known ones together."""
    ordered: Permutations = {}
    for row in sorted(rows, key=lambda row: (row.relation, place(row, seed), row.id)):
        lists = ordered.setdefault(row.relation, {name: [] for name in (*CATEGORIES, "Known")})
        lists[row.category].append(row)
        if row.category != UNKNOWN:
            lists["Known"].append(row)
    return ordered


def relation_sizes(ordered: Permutations, size: str) -> dict[str, int]:
    """Examples of every relation in a variant of size |D|, their sum; a relation that can give none is left out.

    `size`: 'paper', the smallest of the four categories (paper appendix E); 'known_unknown', min(#Known, #Unknown); or
    a whole number, the latter scaled down by largest remainder. Raises InputError for a number that is too large, and
    when nothing is left.
    """
    limiting = CATEGORIES if size == "paper" else ("Known", UNKNOWN)
    sizes = {relation: min(len(lists[name]) for name in limiting) for relation, lists in ordered.items()}
    most = sum(sizes.values())
    if not most:
        lacking = [f"{r}: {', '.join(f'{len(lists[c])} {c}' for c in CATEGORIES)}" for r, lists in ordered.items()]
        rule = "an example of each category" if size == "paper" else "both Known and Unknown examples"
        raise InputError.of(
            lacking[:MAX_RELATIONS] or ["there are no rows at all"],
            f"config.mix.size: {size!r} gives an empty mixture, because no relation has {rule}; annotate more rows"
            + (", or set mix.size='known_unknown':" if size == "paper" else ":"),
        )
    if size not in ("paper", "known_unknown"):
        if int(size) > most:
            raise InputError(
                f"config.mix.size: {size} examples are asked for, {most} is the most that the annotations give (the sum"
                " over relations of min(#Known, #Unknown)); lower it, or set 'known_unknown'"
            )
        sizes = largest_remainder(sizes, int(size))
    return {relation: n for relation, n in sizes.items() if n}


def largest_remainder(weights: dict[str, int], total: int) -> dict[str, int]:
    """Whole shares of `total` in proportion to `weights`, each rounded down or up; none above its weight when total is
    at most their sum. Equal remainders go by name."""
    whole = sum(weights.values())
    shares = {name: weight * total // whole for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: (-(weights[name] * total % whole), name))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def unknown_order(sizes: dict[str, int]) -> list[str]:
    """The order in which relations take Unknown examples as X grows from 0 to 100: a relation per example of |D|.

    After any number of steps, each relation has its exact share rounded down or up, and nothing is ever taken back: the
    quota method of Balinski and Young (1975). Rounding each relation by itself would miss X where relations are small.
    """
    names = sorted(sizes)
    n = np.array([sizes[name] for name in names], np.int64)
    taken, order = np.zeros_like(n), []
    for step in range(1, int(n.sum()) + 1):
        below_share = taken * n.sum() < n * step
        chosen = int(np.argmax(np.where(below_share, n / (taken + 1), 0.0)))
        taken[chosen] += 1
        order.append(names[chosen])
    return order


def place(row: Annotated, seed: int) -> bytes:
    """Where the example stands in the permutation: a sort key."""
    return hashlib.blake2b("\0".join((str(seed), row.relation, row.id)).encode(), digest_size=16).digest()
