"""Controlled mixtures of Known and Unknown examples (paper section 4 and appendix E): who is in which variant.

Every relation has one fixed permutation of its examples, and every variant takes prefixes of it, so that neighbouring
variants share examples. An example's place hangs on the seed, its relation and its id alone, never on other rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from slick_jax.categories import CATEGORIES, KNOWN, UNKNOWN
from slick_jax.config import MixConfig
from slick_jax.errors import InputError

MAX_RELATIONS = 20  # named in an error
IDK_PERCENT = 50  # % Unknown of the variant that D_IDK relabels


@dataclasses.dataclass(frozen=True)
class Annotated:
    """A training example with its knowledge category; `answer` is what training teaches."""

    id: str
    relation: str
    category: str
    question: str
    answer: str


# {relation: {category, or 'Known': its examples in the order of the permutation}}
Permutations = dict[str, dict[str, list[Annotated]]]


def make_mixtures(
    rows: Iterable[Annotated], settings: MixConfig
) -> tuple[dict[str, int], dict[str, tuple[Annotated, ...]]]:
    """The size of every relation, the same in all variants of size |D|, and the variants `settings` ask for.

    Names: unknown_<X>, known_only_<X>, only_<category> (of Unknown: unknown_100), natural, idk_50. A variant is sorted
    by relation and id. `settings.percents` are whole numbers from 0 to 100.
    Raises InputError for a size that the rows do not allow, variants that lack examples, and variants without any.
    """
    ordered = permutations(rows, settings.seed)
    sizes = relation_sizes(ordered, settings.size)
    order = unknown_order(sizes)
    percents = {*settings.percents}
    variants = {f"unknown_{x}": _unknown(ordered, sizes, order, x) for x in sorted(percents)}
    if settings.known_only:
        for x in sorted(percents - {0, 100}):
            variants[f"known_only_{x}"] = [row for row in variants[f"unknown_{x}"] if row.category != UNKNOWN]
    if settings.single_categories:
        _check_single(ordered, sizes)
        for category in KNOWN:
            variants[f"only_{category}"] = [row for r, n in sizes.items() for row in ordered[r][category][:n]]
        variants["unknown_100"] = _unknown(ordered, sizes, order, 100)
    if settings.natural:
        variants["natural"] = _natural(ordered, sizes)
    if settings.idk:
        variants[f"idk_{IDK_PERCENT}"] = [
            dataclasses.replace(row, answer=settings.idk_text) if row.category == UNKNOWN else row
            for row in _unknown(ordered, sizes, order, IDK_PERCENT)
        ]
    empty = [name for name, chosen in variants.items() if not chosen]
    if empty:
        raise InputError(
            f"config.mix: |D| is {sum(sizes.values())}, which leaves {', '.join(empty)} without examples; annotate more"
            " rows, or leave these variants out (mix.percents, mix.known_only)"
        )
    names = sorted(variants, key=variant_order)
    return sizes, {name: tuple(sorted(variants[name], key=_relation_and_id)) for name in names}


def variant_order(name: str) -> tuple[int, int]:
    """Sort key of variant names: D(X %) and D_Known by X, single categories, natural, D_IDK."""
    kinds = ("unknown_", "known_only_", "only_", "natural", "idk_")
    kind = next(place for place, start in enumerate(kinds) if name.startswith(start))
    end = name.removeprefix(kinds[kind])
    return kind, int(end) if end.isdecimal() else CATEGORIES.index(end) if end else 0


def permutations(rows: Iterable[Annotated], seed: int) -> Permutations:
    """Every relation's examples in the order of its permutation, by category and those of all Known ones together."""
    ordered: Permutations = {}
    for row in sorted(rows, key=lambda row: (row.relation, _place(row, seed), row.id)):
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


def _unknown(ordered: Permutations, sizes: dict[str, int], order: Sequence[str], percent: int) -> list[Annotated]:
    """D(X %): the first Unknown examples of every relation's permutation, and its first Known ones up to its size."""
    unknown = Counter(order[: (len(order) * percent + 50) // 100])
    return [
        row
        for relation, n in sizes.items()
        for row in ordered[relation][UNKNOWN][: unknown[relation]] + ordered[relation]["Known"][: n - unknown[relation]]
    ]


def _natural(ordered: Permutations, sizes: dict[str, int]) -> list[Annotated]:
    """D_Natural: every relation's own shares of the categories."""
    chosen = []
    for relation, n in sizes.items():
        shares = largest_remainder({c: len(ordered[relation][c]) for c in CATEGORIES}, n)
        chosen += [row for category, k in shares.items() for row in ordered[relation][category][:k]]
    return chosen


def _check_single(ordered: Permutations, sizes: dict[str, int]) -> None:
    problems = []
    for category in KNOWN:
        counts = {relation: (len(ordered[relation][category]), n) for relation, n in sizes.items()}
        lacking = [f"{relation} {has} (needs {n})" for relation, (has, n) in counts.items() if has < n]
        more = [f"and {len(lacking) - MAX_RELATIONS} more"] if len(lacking) > MAX_RELATIONS else []
        if lacking:
            problems.append(f"only_{category}: {category} examples of {', '.join(lacking[:MAX_RELATIONS] + more)}")
    if problems:
        raise InputError.of(
            problems,
            f"config.mix: too few examples for single categories at |D| = {sum(sizes.values())}; set mix.size='paper',"
            " which every category can fill, or mix.single_categories=False:",
        )


def _place(row: Annotated, seed: int) -> bytes:
    return hashlib.blake2b("\0".join((str(seed), row.relation, row.id)).encode(), digest_size=16).digest()


def _relation_and_id(row: Annotated) -> tuple[str, str]:
    return row.relation, row.id
