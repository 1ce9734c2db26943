"""Exemplar sets: distinct, reproducible, never leaking the question, and clear about what is missing."""

import pytest

from slick_jax.data.examples import Example
from slick_jax.errors import InputError
from slick_jax.knowledge import exemplars


def rows(n, relation="r", split="dev"):
    return [
        Example(
            f"{relation}.{split}.{i}", f"Who is {relation} {i}?", (f"answer {i}",), relation, f"{relation} {i}", split
        )
        for i in range(n)
    ]


def draw(pools, **changes):
    return exemplars.draw_sets(pools, **({"n_sets": 10, "n_reserve": 4, "size": 4, "seed": 0} | changes))


def first_sets(sets):
    return [sets.get(number) for number in range(14)]


def test_sets_are_distinct_as_sets_and_hang_on_seed_and_relation_only():
    pool = rows(6)
    first = draw({"r": pool})["r"]
    assert len({frozenset(row.id for row in chosen) for chosen in first_sets(first)}) == 14
    again = draw({"q": rows(9, "q"), "r": pool[::-1]})["r"]
    assert first_sets(again) == first_sets(first)
    assert first_sets(draw({"r": pool}, seed=1)["r"]) != first_sets(first)


def test_too_few_exemplars_names_every_relation():
    with pytest.raises(InputError, match="(?s)'few'.*5.*'none'.*0") as caught:
        draw({"few": rows(5), "none": [], "fine": rows(6)})
    assert "'fine'" not in str(caught.value) and "dev_path" in str(caught.value)


@pytest.mark.parametrize("leak", ["id", "question", "subject"])
def test_a_set_with_the_question_or_its_subject_is_replaced_by_the_first_clean_reserve(leak):
    pool = rows(20)
    sets = draw({"r": pool})["r"]
    other = {"id": "x", "question": "Who?", "subject": "nobody"}
    other[leak] = {"id": pool[3].id, "question": " who  IS r 3?", "subject": "R  3"}[leak]
    asked = Example(other["id"], other["question"], ("a",), "r", other["subject"])
    held = {number for number in range(14) if pool[3] in sets.get(number)}
    assert held & set(range(10)), "the case would be empty"
    numbers = sets.assign(asked, 10)
    reserves = iter(number for number in range(10, 100) if pool[3] not in sets.get(number))
    assert numbers == [next(reserves) if number in held else number for number in range(10)]


def test_without_a_subject_field_only_the_question_counts():
    pool = rows(20)
    sets = draw({"r": pool})["r"]
    asked = Example("x", "Another question about r 3?", ("a",), "r", None)
    assert sets.assign(asked, 10) == list(range(10))


def test_a_pool_without_enough_clean_sets_names_the_row():
    sets = draw({"r": rows(6)})["r"]
    with pytest.raises(InputError, match="'r.dev.0'"):
        sets.assign(rows(6)[0], 10)


def test_a_pool_of_one_subject_ends_in_an_error_at_once():
    same = [Example(f"d{i}", f"Who is {i}?", ("a",), "r", "subject", "dev") for i in range(2000)]
    with pytest.raises(InputError, match="'x'.*2000 share its question or subject"):
        draw({"r": same})["r"].assign(Example("x", "Who?", ("a",), "r", "Subject"), 10)


def test_a_question_without_clean_shared_sets_is_told_of_sets_of_its_own():
    # C(32, 4) / C(64, 4) = 5.7 % of sets are clean, seven of 128
    pool = [Example(f"d{i}", f"Who is {i}?", ("a",), "r", f"s{max(i - 31, 0)}", "dev") for i in range(64)]
    sets, asked = draw({"r": pool})["r"], Example("x", "Who?", ("a",), "r", "s0")
    with pytest.raises(InputError, match="'x'.*fewer than 10 of the 128 sets.*annotate.exemplars=per_question"):
        sets.assign(asked, 10)
    assert len(sets.draw_for(asked, 10)) == 10


def test_pools_come_from_dev_or_else_from_64_rows_of_the_relation():
    train = rows(200, split="train")
    assert exemplars.pools(train, rows(8), train, 0) == {"r": rows(8)}
    drawn = exemplars.pools(train[:3], [], train, 0)["r"]
    assert len(drawn) == len(set(drawn)) == 64 and set(drawn) <= set(train)
    assert exemplars.pools(train, [], train[::-1], 0)["r"] == drawn
    assert exemplars.pools(train, [], train, 1)["r"] != drawn


def test_sets_of_a_question_are_its_own_and_hang_on_seed_pool_and_id_only():
    pool = rows(12)
    asked = [Example(f"q{i}", f"Question {i}?", ("a",), "r", f"s{i}") for i in range(5)]
    sets = draw({"r": pool})["r"]
    drawn = {row.id: sets.draw_for(row, 10) for row in asked}
    assert len({str(one) for one in drawn.values()}) == 5
    for chosen in drawn.values():
        assert len({frozenset(one) for one in chosen}) == 10 and all(len(set(one)) == 4 for one in chosen)
    again = draw({"r": pool[::-1], "q": rows(9, "q")})["r"]
    assert {row.id: again.draw_for(row, 10) for row in asked[::-1]} == drawn
    assert draw({"r": pool}, seed=1)["r"].draw_for(asked[0], 10) != drawn["q0"]
    assert [row.id for row in sets.get(drawn["q0"][0])] == [sets.pool[index].id for index in drawn["q0"][0]]


@pytest.mark.parametrize("leak", ["id", "question", "subject"])
def test_sets_of_a_question_never_hold_it_or_its_subject(leak):
    pool = rows(7)
    sets = draw({"r": pool}, n_reserve=0)["r"]
    other = {"id": "x", "question": "Who?", "subject": "nobody"}
    other[leak] = {"id": pool[3].id, "question": " who  IS r 3?", "subject": "R  3"}[leak]
    chosen = sets.draw_for(Example(other["id"], other["question"], ("a",), "r", other["subject"]), 15)
    assert len(chosen) == 15 and not any(pool[3] in sets.get(one) for one in chosen)  # all sets of 4 of the other 6
    with pytest.raises(InputError, match="of the 7 exemplar rows.* 1 share.*fewer than 16 sets"):
        sets.draw_for(Example(other["id"], other["question"], ("a",), "r", other["subject"]), 16)
