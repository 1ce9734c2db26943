"""Packing: every judged position is asked once, with its own name and step, in few shapes and with little padding."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from slick_jax.knowledge.batches import SMALL_CALL, Shapes, choose_lengths, pack
from slick_jax.knowledge.walk import Row


def make_rows(seed, number, n_prefixes=10, longest=30, most_judged=12):
    """Rows of random lengths with tokens, names and targets that are told apart."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(number):
        length = int(rng.integers(1, longest + 1))
        judged = int(rng.integers(1, min(length, most_judged) + 1))
        walk = SimpleNamespace(words=(2**32 - 1 - index, index), slot=int(rng.integers(10)))
        path = tuple(rng.integers(1, 9, rng.integers(0, 5)).tolist())
        targets = rng.integers(1, 99, judged).tolist() if rng.random() < 0.5 else ()
        tokens = rng.integers(1, 1000, length).tolist()
        rows.append(Row(walk, int(rng.integers(n_prefixes)), tokens, path, judged, targets))
    return rows


def packed_shapes(batches):
    return {(batch.tokens.shape, batch.where.shape) for batch in batches}


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("number", [1, 7, 50, 400])
@pytest.mark.parametrize(("groups", "group_rows", "positions"), [(12, 8, 600), (1, 1, 12), (24, 3, 100)])
def test_every_judged_position_is_asked_once(number, shards, groups, group_rows, positions):
    rows = make_rows(number, number)
    shapes = Shapes((10, 20, 30), groups, group_rows, positions, most_judged=12, shards=shards)
    batches = pack(rows, shapes)
    assert sorted(id(row) for batch in batches for *_, row in batch.rows) == sorted(map(id, rows))
    for batch in batches:
        n_groups, n_rows, length = batch.tokens.shape
        assert n_groups % shards == 0
        assert batch.where.shape == batch.step.shape == batch.targets.shape == batch.names.shape[:2]
        taken = np.zeros(batch.where.shape, int)
        for shard, offset, row in batch.rows:
            span = np.s_[shard, offset : offset + row.judged]
            taken[span] += 1
            group, place = np.divmod(batch.where[span], n_rows * length)
            assert len(set(group)) == 1, "a shard gathers from its own groups"
            group = shard * (n_groups // shards) + group[0]
            assert batch.prefix[group] == row.prefix
            b, last = np.divmod(place, length)
            assert len(set(b)) == 1
            assert batch.tokens[group, b[0], : len(row.tokens)].tolist() == row.tokens
            assert last.tolist() == list(range(len(row.tokens) - row.judged, len(row.tokens)))
            assert batch.step[span].tolist() == [len(row.path) + ahead for ahead in range(row.judged)]
            assert (batch.names[span] == np.array([*row.walk.words, row.walk.slot], np.uint32)).all()
            assert batch.targets[span].tolist() == (list(row.targets) or [0] * row.judged)
        assert taken.max() == 1
        assert not batch.targets[taken == 0].any()


def test_few_shapes_are_compiled():
    shapes = Shapes((10, 20, 30), groups=24, group_rows=8, positions=1000, most_judged=12)
    seen = set()
    for seed, number in enumerate((1, 3, 40, 200, 1000)):
        seen |= packed_shapes(pack(make_rows(seed, number), shapes))
    assert len(seen) <= 2 * len(shapes.lengths)
    assert {shape[0][0] for shape in seen} == {24, SMALL_CALL}


def test_a_few_rows_travel_in_a_small_call():
    shapes = Shapes((30,), groups=64, group_rows=4, positions=2000, most_judged=12)
    (batch,) = pack(make_rows(0, 5), shapes)
    assert batch.tokens.shape == (SMALL_CALL, 4, 30)


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_get_equal_work(shards):
    rows = [Row(SimpleNamespace(words=(0, 0), slot=0), 0, [1] * 9, (), 4) for _ in range(8 * 16)]
    shapes = Shapes((9,), groups=16, group_rows=8, positions=8 * 16 * 4, most_judged=4, shards=shards)
    (batch,) = pack(rows, shapes)
    counts = [sum(row.judged for shard, _, row in batch.rows if shard == each) for each in range(shards)]
    assert set(counts) == {len(rows) * 4 // shards}


def test_padding_stays_within_a_third():
    rng = np.random.default_rng(0)
    rows = make_rows(1, 4000)
    for row in rows:  # as questions are: of similar length
        row.tokens = [1] * int(np.clip(rng.normal(18, 4), 12, 30))
    lengths = choose_lengths([len(row.tokens) for row in rows], 40)
    shapes = Shapes(lengths, groups=40, group_rows=8, positions=3000, most_judged=12)
    computed = sum(batch.tokens.size for batch in pack(rows, shapes))
    assert sum(len(row.tokens) for row in rows) > computed * 2 / 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 2, 3])
def test_lengths_have_the_least_padding(seed, most):
    rng = np.random.default_rng(seed)
    lengths = (10 + rng.geometric(0.2, 60)).tolist()

    def padded(chosen):
        return sum(min(size for size in chosen if size >= length) for length in lengths)

    sizes = sorted(set(lengths))
    options = [(*smaller, sizes[-1]) for count in range(most) for smaller in itertools.combinations(sizes[:-1], count)]
    found = choose_lengths(lengths, sizes[-1], most)
    assert len(found) <= most
    assert list(found) == sorted(found)
    assert padded(found) == min(map(padded, options))
    assert choose_lengths(lengths, 99, most) == (*found, 99)
