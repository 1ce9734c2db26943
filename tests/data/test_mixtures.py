"""Mixtures: exactly |D|, the same relations in every variant, prefixes of one permutation, whatever the row order."""

import dataclasses
import random
from collections import Counter
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slick_jax.config import MixConfig
from slick_jax.data.entity_questions.preparation import prepare
from slick_jax.data.mixtures import (
    CATEGORIES,
    Annotated,
    largest_remainder,
    permutations,
    unknown_order,
)
from slick_jax.data.recipes import make_mixtures
from slick_jax.errors import InputError

SHARES = (0.24, 0.25, 0.17, 0.34)  # of the paper's model


def made(counts: dict[str, tuple[int, int, int, int]]) -> list[Annotated]:
    """That many rows of each category, by relation; ids tell nothing of the category."""
    rows = []
    for relation, numbers in counts.items():
        planted = [c for c, n in zip(CATEGORIES, numbers, strict=True) for _ in range(n)]
        rows += [Annotated(f"{relation}.{i}", relation, c, f"q {i}?", f"a {i}") for i, c in enumerate(planted)]
    return rows


def by_relation(rows) -> Counter:
    return Counter(row.relation for row in rows)


def ids(rows, *, unknown: bool) -> set[str]:
    return {row.id for row in rows if (row.category == "Unknown") == unknown}


COUNTS = {"a": (9, 8, 7, 11), "b": (40, 30, 20, 10), "c": (3, 3, 3, 30), "d": (1, 1, 1, 1), "e": (5, 0, 0, 0)}
EVERY = MixConfig(size="paper", single_categories=True)
PERCENTS = EVERY.percents


@pytest.mark.parametrize(
    "size, expected",
    [
        ("paper", {"a": 7, "b": 10, "c": 3, "d": 1}),
        ("known_unknown", {"a": 11, "b": 10, "c": 9, "d": 1}),
        # 31 x (11, 10, 9, 1) / 31 = all; 20: 7.10, 6.45, 5.81, 0.65
        ("31", {"a": 11, "b": 10, "c": 9, "d": 1}),
        ("20", {"a": 7, "b": 6, "c": 6, "d": 1}),
        ("1", {"a": 1}),
    ],
)
def test_sizes(size, expected):
    sizes, variants = make_mixtures(made(COUNTS), MixConfig(size=size, known_only=False))
    assert sizes == expected
    for name, rows in variants.items():
        assert by_relation(rows) == expected, name
        assert len({row.id for row in rows}) == len(rows)


def test_what_each_variant_holds():
    sizes, variants = make_mixtures(made(COUNTS), EVERY)
    total = sum(sizes.values())
    assert list(variants) == [
        "unknown_0", "unknown_25", "unknown_50", "unknown_75", "unknown_100",
        "known_only_25", "known_only_50", "known_only_75",
        "only_HighlyKnown", "only_MaybeKnown", "only_WeaklyKnown", "natural", "idk_50",
    ]  # fmt: skip
    for x in PERCENTS:
        unknown = Counter(row.relation for row in variants[f"unknown_{x}"] if row.category == "Unknown")
        assert sum(unknown.values()) == int(Fraction(total * x, 100) + Fraction(1, 2))
        for relation, n in sizes.items():
            assert abs(unknown[relation] - Fraction(n * sum(unknown.values()), total)) < 1
    for x in (25, 50, 75):
        known = [row for row in variants[f"unknown_{x}"] if row.category != "Unknown"]
        assert list(variants[f"known_only_{x}"]) == known
    for category in ("HighlyKnown", "MaybeKnown", "WeaklyKnown"):
        assert {row.category for row in variants[f"only_{category}"]} == {category}
        assert by_relation(variants[f"only_{category}"]) == sizes
    # relation a: 7 x (9, 8, 7, 11) / 35 = 1.8, 1.6, 1.4, 2.2; b: 10 x (40, 30, 20, 10) / 100; c: 3 x (3, 3, 3, 30) / 39
    natural = Counter((row.relation, row.category) for row in variants["natural"])
    expected = {"a": (2, 2, 1, 2), "b": (4, 3, 2, 1), "c": (0, 0, 0, 3), "d": (1, 0, 0, 0)}
    assert {r: tuple(natural[r, c] for c in CATEGORIES) for r in sizes} == expected


def test_idk_relabels_the_unknown_half_alone():
    _, variants = make_mixtures(made(COUNTS), MixConfig(percents=(0,), idk_text="No idea"))
    assert "unknown_50" not in variants
    _, others = make_mixtures(made(COUNTS), MixConfig(percents=(50,)))
    for plain, told in zip(others["unknown_50"], variants["idk_50"], strict=True):
        answer = "No idea" if plain.category == "Unknown" else plain.answer
        assert told == dataclasses.replace(plain, answer=answer)


def test_neighbours_share_examples_and_permutations_hang_on_identity_alone():
    rows = made(COUNTS)
    sizes, variants = make_mixtures(rows, EVERY)
    for low, high in zip(PERCENTS, PERCENTS[1:], strict=False):
        assert ids(variants[f"unknown_{low}"], unknown=True) <= ids(variants[f"unknown_{high}"], unknown=True)
        assert ids(variants[f"unknown_{low}"], unknown=False) >= ids(variants[f"unknown_{high}"], unknown=False)
    ordered = permutations(rows, 0)
    for relation in sizes:
        known = [row.id for row in ordered[relation]["Known"]]
        taken = {row.id for row in variants["unknown_25"] if row.relation == relation and row.category != "Unknown"}
        assert taken == set(known[: len(taken)])

    shuffled = random.Random(1).sample(rows, len(rows))
    assert make_mixtures(shuffled, EVERY) == (sizes, variants)
    # without one row, all others keep their order
    less = permutations(rows[1:], 0)["a"]["Known"]
    assert less == [row for row in ordered["a"]["Known"] if row.id != rows[0].id]
    other = make_mixtures(rows, dataclasses.replace(EVERY, seed=1))[1]
    assert other["unknown_50"] != variants["unknown_50"]


def test_draws_are_uniform():
    rows = made({"a": (10, 5, 5, 20)})
    variants = (make_mixtures(rows, MixConfig(size="10", seed=seed))[1] for seed in range(400))
    drawn = Counter(row.id for made_variants in variants for row in made_variants["unknown_0"])
    assert len(drawn) == 20 and all(abs(n - 200) < 5 * 10 for n in drawn.values())  # 5 standard deviations


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 40), min_size=1, max_size=12))
def test_shares_of_every_total(sizes):
    total, order, taken = sum(sizes.values()), unknown_order(sizes), Counter()
    assert Counter(order) == sizes
    for step, relation in enumerate(order, start=1):
        taken[relation] += 1
        assert all(abs(taken[name] - Fraction(n * step, total)) < 1 for name, n in sizes.items())
        shares = largest_remainder(sizes, step)
        assert sum(shares.values()) == step
        assert all(abs(shares[name] - Fraction(n * step, total)) < 1 and shares[name] <= n for name, n in sizes.items())


def test_paper_size_on_entity_questions(real_data):
    source = prepare(str(real_data / "entityquestions"))["train"]
    chance = random.Random(5)
    rows = [
        Annotated(e.id, e.relation, chance.choices(CATEGORIES, SHARES)[0], e.question, e.answers[0]) for e in source
    ]
    table = pd.crosstab([row.relation for row in rows], [row.category for row in rows])
    sizes, variants = make_mixtures(rows, EVERY)
    assert sizes == table.min(axis=1).to_dict()
    total = int(table.min(axis=1).sum())
    assert len(rows) == 81_700 and 13_000 < total < 14_500  # about 17 % of the rows
    for name, chosen in variants.items():
        if not name.startswith("known_only"):
            assert len(chosen) == total and by_relation(chosen) == sizes, name
    unknown = Counter(row.relation for row in variants["unknown_75"] if row.category == "Unknown")
    assert all(abs(unknown[relation] - 0.75 * n) <= 1 for relation, n in sizes.items())
    both = min(table.drop(columns="Unknown").sum().sum(), table["Unknown"].sum())
    assert sum(make_mixtures(rows, MixConfig())[0].values()) == both  # Unknown is the smaller one in every relation


def complaint(rows, **chosen) -> str:
    with pytest.raises(InputError) as caught:
        make_mixtures(rows, MixConfig(**chosen))
    return str(caught.value)


def test_too_few_examples():
    text = complaint(made(COUNTS), single_categories=True)
    assert "only_HighlyKnown: HighlyKnown examples of a 9 (needs 11), c 3 (needs 9)" in text
    assert "only_WeaklyKnown" in text and "mix.size='paper'" in text and "mix.single_categories=False" in text
    assert "32 examples are asked for, 31 is the most" in complaint(made(COUNTS), size="32")


def test_empty_mixtures():
    text = complaint(made({"a": (3, 0, 2, 0), "b": (0, 0, 0, 2)}))
    assert "empty mixture" in text and "a: 3 HighlyKnown, 0 MaybeKnown, 2 WeaklyKnown, 0 Unknown" in text
    assert "an example of each category" in complaint(made({"a": (3, 0, 2, 5)}), size="paper")
    assert "no rows at all" in complaint([])
    text = complaint(made({"a": (1, 0, 0, 1)}), percents=(50,))
    assert "|D| is 1, which leaves known_only_50 without examples" in text
