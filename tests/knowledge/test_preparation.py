"""Parts are cut by relation and id alone, against a slow version of the rule."""

import random

import pytest

from slick_jax.data.examples import Example
from slick_jax.knowledge.preparation import MAX_PART_RELATIONS, _cut


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
