"""Packing: every path that is asked is judged once, behind its own question and prefix; few shapes, little padding."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from slick_jax.knowledge.batches import pack
from slick_jax.knowledge.pools import Lease
from slick_jax.knowledge.shapes import LEAST_TOKENS, SMALL, Shapes, choose_lengths, choose_shapes
from slick_jax.knowledge.trees import grow
from slick_jax.knowledge.walk import Row

SHAPES = [
    Shapes((12, 20, 64), tokens=1024, positions=128),
    Shapes((40,), tokens=40, positions=5),
    Shapes((16, 48), tokens=4096, positions=512),
]


def make_walks(seed, number, n_prefixes=10, longest=14):
    rng = np.random.default_rng(seed)
    return [
        SimpleNamespace(
            words=(2**32 - 1 - index, index),
            slot=int(rng.integers(10)),
            name=(2**32 - 1 - index, index, int(rng.integers(10))),
            prefix=int(rng.integers(n_prefixes)),
            tokens=rng.integers(100, 1000, rng.integers(1, longest + 1)).tolist(),
        )
        for index in range(number)
    ]


def make_rows(seed, walks, most=3, vocabulary=3, depth=5):
    """Rows whose paths often share their beginning; of each walk the first asks for log-probabilities."""
    rng = np.random.default_rng(seed)
    rows = []
    for walk in walks:
        for number in range(rng.integers(1, most + 1)):
            path = tuple(rng.integers(1, vocabulary, rng.integers(0, depth)).tolist())
            more = tuple(rng.integers(1, vocabulary, rng.integers(0, depth)).tolist())
            targets = () if number else rng.integers(1, 99, len(more) + 1).tolist()
            rows.append(Row(walk, path, more, targets))
    return rows


def asked(rows):
    """Every (walk, path) of these rows, with its target where one is asked for."""
    wanted = {}
    for row in rows:
        for step in range(len(row.continuation) + 1):
            key = (row.walk.name, row.path + row.continuation[:step])
            target = row.targets[step] if row.targets else None
            wanted[key] = wanted.get(key) if target is None else target
    return wanted


def context(batch, lane, place):
    """Tokens that the token at `place` sees, itself included, by the definition of a forest."""
    seen = [s for s in range(place + 1) if place < batch.lanes.end[lane, s]]
    assert batch.lanes.depth[lane, place] == len(seen) - 1
    return batch.lanes.tokens[lane, seen].tolist()


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("number", [1, 7, 150])
@pytest.mark.parametrize("shapes", SHAPES)
def test_every_path_is_judged_once_behind_its_own_question(number, shards, shapes):
    shapes = Shapes(shapes.lengths, shapes.tokens, shapes.positions, shards)
    rows = make_rows(number, make_walks(number, number))
    found = {}
    for batch in pack(rows, shapes):
        lanes, length = batch.lanes.tokens.shape
        assert lanes % shards == 0
        assert (lanes, length, 0) in shapes.calls
        for judged in batch.judged:
            assert judged.where.shape == judged.step.shape == judged.targets.shape == judged.names.shape[:2]
            assert judged.where.shape[1] in shapes.position_calls
            for shard, place, walk, node in judged.nodes:
                lane, inner = divmod(int(judged.where[shard, place]), length)
                lane += shard * (lanes // shards)
                assert batch.lanes.prefix[lane] == walk.prefix
                assert context(batch, lane, inner) == [*walk.tokens, *node.path]
                assert judged.step[shard, place] == len(node.path)
                assert tuple(judged.names[shard, place]) == walk.name
                assert judged.targets[shard, place] == (node.target or 0)
                assert (walk.name, node.path) not in found
                found[walk.name, node.path] = node.target
    assert found == asked(rows)


@pytest.mark.parametrize(("shards", "slots"), [(1, 10**6), (2, 10**6), (3, 10**6), (2, 1500), (1, 700), (1, 0)])
def test_later_rows_stand_behind_what_was_forwarded(shards, slots):
    shapes = Shapes((12, 20, 64), tokens=1024, positions=128, shards=shards, behind=((8, 32), (16, 64)))
    rng = np.random.default_rng(shards)
    walks = make_walks(1, 60)
    lease = Lease(SimpleNamespace(k=np.zeros((1, shards, slots))))
    pool = np.full((shards, slots), -1)
    paths = {walk.name: {()} for walk in walks}
    rows = [Row(walk, (), (1, 2)) for walk in walks]
    for walk in walks[:20]:  # so many aliases that they need several trees
        rows += [Row(walk, (), (alias, alias, 1, 2)) for alias in range(3, 23)]
    again = 0
    for number in range(5):
        found = set()
        for batch in pack(rows, shapes, lease.find):
            lanes, (count, length) = batch.lanes, batch.lanes.tokens.shape
            assert (count, length, 0 if lanes.slots is None else lanes.slots.shape[1]) in shapes.calls
            for judged in batch.judged:
                for shard, place, walk, node in judged.nodes:
                    lane, inner = divmod(int(judged.where[shard, place]), length)
                    lane += shard * (count // shards)
                    own = [s for s in range(inner + 1) if inner < lanes.end[lane, s]]
                    kept = []
                    if lanes.slots is not None:
                        assert len({*lanes.first[lane, own]}) == len({*lanes.last[lane, own]}) == 1
                        kept = pool[shard, lanes.slots[lane, lanes.first[lane, inner] : lanes.last[lane, inner]]]
                    assert lanes.depth[lane, inner] == len(kept) + len(own) - 1
                    assert [*kept, *lanes.tokens[lane, own]] == [*walk.tokens, *node.path]
                    assert number == 0 or (walk.name, node.path) not in found  # cut trees ask their root again
                    found.add((walk.name, node.path))
            start, tokens = lease.place(batch), lanes.tokens.reshape(shards, -1)
            if start is not None:
                pool[:, start : start + tokens.shape[1]] = tokens
            again += number > 0 and batch.real
        assert found == set(asked(rows))
        for name, path in found:
            paths[name].add(path)
        rows = []
        for walk in walks:
            known = sorted(paths[walk.name])
            for path in {(*known[rng.integers(len(known))], int(token)) for token in rng.integers(1, 9, 2)}:
                if path not in paths[walk.name]:
                    rows.append(Row(walk, path, tuple(rng.integers(1, 9, rng.integers(0, 3)).tolist())))
        new = {(walk.name, path) for walk, path in ((row.walk, row.path) for row in rows)}
        assert len(new) == len(rows)
    if slots == 10**6:
        assert lease.filled < slots and again < 60 * 4 * 2 * 3  # a path's last token and its draft, at most


def test_padding_sees_itself_alone():
    (batch,) = pack(make_rows(0, make_walks(0, 3)), SHAPES[2])
    used = batch.lanes.tokens > 0
    assert (batch.lanes.end > np.arange(used.shape[1]))[~used].all()
    assert batch.real == used.sum()


def test_a_tree_too_long_for_a_lane_is_cut():
    (walk,) = make_walks(0, 1)
    rows = [Row(walk, (number,), (7,) * 8) for number in range(1, 9)]
    trees = list(grow(rows, 40))
    assert len(trees) > 1
    assert max(len(tree.tokens) for tree in trees) <= 40
    assert sorted(node.path for tree in trees for node in tree.nodes) == sorted(path for _, path in asked(rows))


def test_question_and_shared_beginnings_are_forwarded_once():
    (walk,) = make_walks(1, 1)
    (tree,) = grow([Row(walk, (), (1, 2, 3)), Row(walk, (), (1, 2, 4)), Row(walk, (1,), ())], 64)
    assert tree.tokens == [*walk.tokens, 1, 2, 3, 4]
    assert len(tree.nodes) == 5


def test_few_shapes_are_compiled():
    shapes = Shapes((12, 20, 64), tokens=8192, positions=512)
    seen, positions = set(), set()
    for seed, number in enumerate((1, 3, 40, 200, 1000)):
        for batch in pack(make_rows(seed, make_walks(seed, number)), shapes):
            seen.add((*batch.lanes.tokens.shape, 0))
            positions |= {judged.where.shape for judged in batch.judged}
    assert seen <= set(shapes.calls)
    assert len(shapes.calls) == 9
    assert len(positions) <= 2


def test_a_few_rows_travel_in_a_small_call():
    shapes = Shapes((16, 64), tokens=8192, positions=512)
    batches = pack(make_rows(0, make_walks(0, 3)), shapes)
    assert sum(batch.lanes.tokens.size for batch in batches) <= shapes.tokens // SMALL
    assert shapes.tokens // SMALL >= LEAST_TOKENS


@pytest.mark.parametrize("shards", [2, 4])
def test_shards_get_equal_work(shards):
    walks = [SimpleNamespace(name=(0, 0, 0), prefix=0, tokens=[1] * 9) for _ in range(8 * 16)]
    shapes = Shapes((64,), tokens=1024, positions=128, shards=shards)
    batches = pack([Row(walk, (), ()) for walk in walks], shapes)
    judged = [node for batch in batches for judged in batch.judged for node in judged.nodes]
    counts = [sum(shard == each for shard, *_ in judged) for each in range(shards)]
    assert sum(counts) == len(walks)
    assert max(counts) - min(counts) <= 64 // 9


def test_padding_stays_within_a_tenth():
    rng = np.random.default_rng(0)
    walks = make_walks(1, 4000)
    for walk in walks:  # as questions are: of similar length
        walk.tokens = [1] * int(np.clip(rng.normal(14, 4), 6, 30))
    shapes = choose_shapes([len(walk.tokens) for walk in walks], 62, 1024, 1)
    batches = pack([Row(walk, (), ()) for walk in walks], shapes)
    computed = sum(batch.lanes.tokens.size for batch in batches)
    assert sum(batch.real for batch in batches) == sum(len(walk.tokens) for walk in walks) > 0.9 * computed


@pytest.mark.parametrize("question", [5, 40, 120])
def test_every_path_behind_a_kept_question_has_a_lane(question):
    shapes = choose_shapes([question + 3] * 9, question + 31, 1024, 1, questions=[12] * 8 + [question], path=31)
    walk = SimpleNamespace(name=(0, 0, 0), prefix=0, tokens=[1] * question)
    lease = Lease(SimpleNamespace(k=np.zeros((1, 1, 10**5))))
    for length in range(31):
        for more in {0, 31 - length}:
            (batch,) = pack([Row(walk, tuple(range(length)), (7,) * more)], shapes, lease.find)
            assert batch.real == (length + more + question if not length else 1 + more)
        (batch,) = pack([Row(walk, tuple(range(length)), ())], shapes, lease.find)
        lease.place(batch)


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
