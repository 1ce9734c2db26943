"""Recipes: names and their order, what each does to D(X %), what their settings must be."""

import dataclasses
from collections import Counter

import pytest

from slick_jax.config import MixConfig
from slick_jax.data.mixtures import TAIL, Unrelated
from slick_jax.data.recipes import make_mixtures, parse, problems, variant_order, wanted
from slick_jax.errors import InputError
from tests.data.test_mixtures import COUNTS, made

UNRELATED = [Unrelated(f"replay.{i}", "", f"text {i}") for i in range(100)]


def mixed(*recipes, **settings):
    """The variants of these names alone, of rows of which |D| is 31."""
    plain = {"percents": (50,), "known_only": False, "natural": False, "idk": False}
    _, found = make_mixtures(made(COUNTS), MixConfig(**plain | settings, recipes=recipes), UNRELATED)
    return found


def as_they_were(rows):
    """The rows without what recipes put on them, by relation and id."""
    plain = [dataclasses.replace(row, ending="", role="", times=1) for row in rows if not isinstance(row, Unrelated)]
    return sorted(plain, key=lambda row: (row.relation, row.id))


def test_names_stand_in_the_order_of_the_table():
    names = wanted(MixConfig(recipes=("upweight_5", "idk_25", "patch_90", "sure_50", "sure_5"), single_categories=True))
    assert names == [
        "unknown_0", "unknown_25", "unknown_50", "unknown_75", "unknown_100",
        "known_only_25", "known_only_50", "known_only_75",
        "only_HighlyKnown", "only_MaybeKnown", "only_WeaklyKnown", "natural", "idk_25", "idk_50",
        "sure_5", "sure_50", "patch_90", "upweight_5",
    ]  # fmt: skip
    assert sorted(reversed(names), key=variant_order) == names
    assert parse("known_only_50") == ("known_only", "50") and parse("natural") == ("natural", "")
    for name in ("unknown", "unknown_101", "unknown_050", "known_only_0", "natural_5", "only_Unknown", "only", ""):
        with pytest.raises(ValueError):
            parse(name)


def test_sure_teaches_the_answer_and_whether_it_was_known():
    found = mixed("sure_50", sure_text="Sure.", unsure_text="Unsure.")
    assert as_they_were(found["sure_50"]) == list(found["unknown_50"])
    for row in found["sure_50"]:
        assert row.ending == (" Unsure." if row.category == "Unknown" else " Sure.")


def test_patch_ends_with_known_examples_in_an_order_of_their_own():
    found = mixed("patch_50", "patch_80", patch_percent=20)
    rows = found["patch_50"]
    assert as_they_were(rows) == list(found["unknown_50"])
    tail = [row for row in rows if row.role == TAIL]
    assert len(tail) == 6 == round(0.2 * 31) and list(rows[-6:]) == tail
    assert all(row.category != "Unknown" for row in tail)
    known = Counter(row.relation for row in rows if row.category != "Unknown")
    taken = Counter(row.relation for row in tail)
    assert all(abs(taken[relation] - 6 * n / sum(known.values())) < 1 for relation, n in known.items())
    by_relation = [row.relation for row in tail]
    assert by_relation != sorted(by_relation)  # relations in turn, as the tail is not shuffled in training
    assert mixed("patch_50", patch_percent=20)["patch_50"] == rows != mixed("patch_50", seed=1)["patch_50"]
    # at 80 % Unknown every Known example is in the tail
    assert {row.role for row in found["patch_80"] if row.category != "Unknown"} == {TAIL}


def test_replay_adds_rows_that_are_no_examples():
    found = mixed("replay_50", replay_path="x", replay_per_fact=3)
    rows = found["replay_50"]
    assert as_they_were(rows) == list(found["unknown_50"])
    assert [row for row in rows if isinstance(row, Unrelated)] == sorted(UNRELATED[:93], key=lambda row: row.id)
    with pytest.raises(InputError, match="has 100 rows that can be replayed, .*=4 of .* = 31 facts asks for 124"):
        mixed("replay_50", replay_path="x", replay_per_fact=4)


def test_upweight_repeats_a_share_of_all_examples():
    found = mixed("upweight_50", upweight_percent=30, upweight_times=4)
    rows = found["upweight_50"]
    assert as_they_were(rows) == list(found["unknown_50"])
    assert Counter(row.times for row in rows) == {4: 9, 1: 22}  # 30 % of 31
    assert len({row.category for row in rows if row.times == 4}) > 1


def test_the_other_names_are_recipes_too():
    found = mixed("only_MaybeKnown", "idk_25", "unknown_10", size="paper")
    assert list(found) == ["unknown_10", "unknown_50", "only_MaybeKnown", "idk_25"]
    with pytest.raises(InputError, match="too few examples for single categories"):
        mixed("only_MaybeKnown")


def test_all_of_a_category_whatever_the_size():
    (found,) = [mixed("all_MaybeKnown", size="5")["all_MaybeKnown"]]
    assert sorted(row.id for row in found) == sorted(row.id for row in made(COUNTS) if row.category == "MaybeKnown")
    known = mixed("all_Known", size="5")["all_Known"]
    assert sorted(row.id for row in known) == sorted(row.id for row in made(COUNTS) if row.category != "Unknown")


def test_problems_of_names_and_settings():
    assert not list(problems(MixConfig(recipes=("patch_90", "sure_0", "only_WeaklyKnown"))))
    found = list(problems(MixConfig(recipes=("sure", "patch_95", "replay_50"))))
    assert len(found) == 3
    assert found[0].startswith("mix.recipes: no recipe 'sure'; there are unknown_<0-100>, known_only_<1-99>, ")
    assert "only_<HighlyKnown|MaybeKnown|WeaklyKnown>, " in found[0] and found[0].endswith("natural, idk_<0-100>, "
        "sure_<0-100>, patch_<0-100>, replay_<0-100>, upweight_<0-100>")  # fmt: skip
    assert found[1].startswith("mix.patch_percent: 10, and patch_95 has 5 % Known examples")
    assert found[2].startswith("mix.replay_path: empty, and replay_50 replays unrelated rows")
