"""What a run knows before its model runs: the sets that rows are asked behind, and parts cut by relation and id."""

import dataclasses
import random

import pytest

from slick_jax.config import Config, DataConfig
from slick_jax.data.examples import Example, to_jsonl
from slick_jax.knowledge import p_true, preparation
from slick_jax.knowledge.preparation import MAX_PART_RELATIONS, _cut
from tests.knowledge.test_p_true import byte_level


def prepared(tmp_path, **settings):
    """The first of 12 rows that are their own exemplar pool."""
    rows = [Example(str(n), f"Who wrote book {n}?", (f"writer {n}",), "author", f"book {n}") for n in range(12)]
    (tmp_path / "rows.jsonl").write_text(to_jsonl(rows))
    data = DataConfig(kind="rows", path=str(tmp_path / "rows.jsonl"), limit=1)
    config = Config(data=data)
    config = dataclasses.replace(config, annotate=dataclasses.replace(config.annotate, p_true=True, **settings))
    return preparation.prepare(config, preparation.ask(config), byte_level([]), 4096)


def test_a_single_row_that_some_sets_hold_needs_only_the_sets_it_is_asked_behind(tmp_path):
    found = prepared(tmp_path)
    (chosen,) = found.assigned
    assert len(chosen) == 10 and set(chosen) - set(range(10))  # reserves stand in for sets with the row itself
    assert found.used_sets == {"author": sorted(chosen)}
    assert found.bank_slots == len(found.prefix_lengths) == 11  # with the one of P(True)
    assert sorted(found.exemplars_json()["author"], key=int) == [str(number) for number in sorted(chosen)]
    keys = found.part_prefixes(found.parts[0])
    assert keys[-1] == p_true.PREFIX and all(len(found.prefix(key)) > 0 for key in keys)
    assert found.shapes(1) and found.proposal(0)[1]


def test_with_exemplars_of_its_own_a_row_needs_one_shared_prefix_and_that_of_p_true(tmp_path):
    found = prepared(tmp_path, exemplars="per_question")
    assert found.bank_slots == len(found.prefix_lengths) == 2
    assert {int(number) for number in found.exemplars_json()["author"]} == {n for one in found.assigned[0] for n in one}


def test_a_share_of_rows_that_are_their_own_exemplars_leaves_the_exemplars_as_they_are(tmp_path):
    rows = [Example(str(n), f"Who wrote book {n}?", (f"writer {n}",), "author", f"book {n}") for n in range(40)]
    (tmp_path / "rows.jsonl").write_text(to_jsonl(rows))
    data = DataConfig(kind="rows", path=str(tmp_path / "rows.jsonl"))
    whole, tenth = (preparation.ask(Config(data=dataclasses.replace(data, share=share))) for share in (1.0, 0.1))
    assert len(whole.rows) == 40 and len(tenth.rows) == 4
    places = [row.id for row in whole.rows]
    for row, chosen in zip(tenth.rows, tenth.assigned, strict=True):
        assert chosen == whole.assigned[places.index(row.id)]
        assert [tenth.sets["author"].get(one) == whole.sets["author"].get(one) for one in chosen] == [True] * 10


def slowly(rows, size):
    """Rows by relation and id; a part ends where one more would be too many rows or relations."""
    parts = [[]]
    for index in sorted(range(len(rows)), key=lambda index: (rows[index].relation, rows[index].id)):
        more = [*parts[-1], index]
        if len(more) > size or len({rows[i].relation for i in more}) > MAX_PART_RELATIONS:
            parts.append([])
        parts[-1].append(index)
    return parts


@pytest.mark.parametrize("size", [1, 3, 7, 100])
@pytest.mark.parametrize("relations", [1, 8, 60])
def test_parts(size, relations):
    numbers = random.Random(0).sample(range(1000), 150)
    rows = [Example(f"row {n}", "Q?", ("A",), f"relation {n % relations}") for n in numbers]
    assert _cut(rows, size) == slowly(rows, size)
    shuffled = random.Random(1).sample(rows, len(rows))
    named = [[[rows[i].id for i in part] for part in _cut(rows, size)] for rows in (rows, shuffled)]
    assert named[0] == named[1]
