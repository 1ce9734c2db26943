"""Token paths packed into few fixed shapes: a tree per question and exemplar set, several trees in a lane of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import jax
import numpy as np

from slick_jax.knowledge.walk import Path, Row

LANE = 64  # tokens of the longest lanes, where single trees are shorter: it decides how well trees fill them
SMALL = 8  # a call of what is left over is this many times smaller than the next larger one
LEAST_TOKENS = 128  # per shard, of the smallest call; a smaller one would take as long
TOKENS = {"cpu": 1024, "gpu": 16384}  # of a large call per shard: from here on the matmuls are at their best rate
LENGTHS = 2  # shorter lanes for trees that stay alone; more would cost more in compilation than they save in padding


class Asker(Protocol):
    """Whom a tree belongs to, such as a `Walk`: slot of its prefix in the bank, and what its noise hangs on."""

    prefix: int
    name: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Node:
    """A judged token of a tree: its place there, the path it ends, and the token whose log-probability is asked for."""

    place: int
    path: Path
    target: int | None


@dataclasses.dataclass(frozen=True)
class Tree:
    """Rows of one walk merged: the question's tokens once, and behind them every path that is asked, depth first.

    depth: how many tokens stand before each; end: place behind its last descendant (`attention.Forest`).
    """

    walk: Asker
    tokens: list[int]
    depth: list[int]
    end: list[int]
    nodes: list[Node]


def grow(rows: Sequence[Row], longest: int) -> Iterator[Tree]:
    """The trees of the rows of one walk: one, unless that is longer than `longest` tokens."""
    rest = sorted(rows, key=lambda row: (*row.path, *row.continuation))
    while rest:
        tree, rest = _grow(rest, longest)
        yield tree


def _grow(rows: list[Row], longest: int) -> tuple[Tree, list[Row]]:
    """A tree of the first rows, in the order of their paths, and the rows that do not fit it."""
    walk = rows[0].walk
    tokens, last = list(walk.tokens), len(walk.tokens) - 1
    depth, end = list(range(len(tokens))), [0] * len(tokens)
    places: list[int] = []  # of the tokens of the path that was added last
    before: Path = ()
    nodes: dict[int, Node] = {}
    taken = 0
    for row in rows:
        path = (*row.path, *row.continuation)
        shared = 0
        while shared < min(len(path), len(before)) and path[shared] == before[shared]:
            shared += 1
        if taken and len(tokens) + len(path) - shared > longest:
            break
        taken += 1
        for place in places[shared:]:
            end[place] = len(tokens)
        del places[shared:]
        for step in range(shared, len(path)):
            places.append(len(tokens))
            tokens.append(path[step])
            depth.append(last + 1 + step)
            end.append(0)
        start = len(row.path)
        for step in range(start, len(path) + 1):
            place = places[step - 1] if step else last
            if row.targets or place not in nodes:
                nodes[place] = Node(place, path[:step], row.targets[step - start] if row.targets else None)
        before = path
    end = [place or len(tokens) for place in end]  # what was never closed reaches to the end
    return Tree(walk, tokens, depth, end, list(nodes.values())), rows[taken:]


@dataclasses.dataclass(frozen=True)
class Judged:
    """The M positions per shard of one call of the decision: where int32[S M] in the shard's tokens, the answer
    position step int32[S M], names uint32[S M 3] (id words, exemplar slot), targets int32[S M] (0 where none);
    nodes: (shard, position, walk, node)."""

    where: np.ndarray
    step: np.ndarray
    names: np.ndarray
    targets: np.ndarray
    nodes: list[tuple[int, int, Asker, Node]]


@dataclasses.dataclass(frozen=True)
class Batch:
    """One call of the forward pass: G lanes of T tokens over all shards, and the positions that are judged.

    tokens, depth, end int32[G T]; prefix int32[G] (slot of the bank); real: tokens that are no padding; seen: tokens of
    their own trees that they attend to together.
    """

    tokens: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    prefix: np.ndarray
    judged: list[Judged]
    real: int
    seen: int


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The few shapes that are compiled for a run.

    lengths: lane lengths T, rising; the last one holds every tree. tokens: of a large call; positions: judged at once;
    both per shard. shards: slices of the mesh that lanes are dealt to.
    """

    lengths: tuple[int, ...]
    tokens: int
    positions: int
    shards: int = 1

    def lanes(self, length: int) -> tuple[int, ...]:
        """Lanes of the calls at this lane length over all shards, falling."""
        sizes = [self.tokens]
        while sizes[-1] // SMALL >= LEAST_TOKENS:
            sizes.append(sizes[-1] // SMALL)
        return tuple(dict.fromkeys(max(size // length, 1) * self.shards for size in sizes))

    @property
    def position_calls(self) -> tuple[int, ...]:
        """Positions per shard of the calls of the decision, falling."""
        return tuple(dict.fromkeys((self.positions, max(self.positions // SMALL, 1))))

    @property
    def calls(self) -> list[tuple[int, int]]:
        """(G, T) of every forward pass."""
        return [(lanes, length) for length in self.lengths for lanes in self.lanes(length)]


def choose_shapes(lengths: Sequence[int], longest: int, tokens: int, shards: int) -> Shapes:
    """Shapes for a run whose first trees have these `lengths`, and later ones at most `longest` tokens.

    tokens: of a large call, per shard; 0: as many as the kind of device is fast at.
    """
    longest = max(-(-longest // 16) * 16, LANE)
    tokens = tokens or TOKENS.get(jax.default_backend(), TOKENS["gpu"])
    return Shapes(choose_lengths(lengths, longest, LENGTHS), tokens, max(tokens // 16, LEAST_TOKENS), shards)


def choose_lengths(lengths: Sequence[int], longest: int, most: int) -> tuple[int, ...]:
    """At most `most` lane lengths to pad to, with the least padding over trees of these `lengths`, and `longest` on
    top.

    Exact, by dynamic programming over the distinct lengths.
    """
    sizes, counts = np.unique(np.asarray(lengths), return_counts=True)
    best: list[list[tuple[int, tuple[int, ...]]]] = [[(0, ())] * (len(sizes) + 1)]
    total = np.concatenate([[0], np.cumsum(counts)])
    for _ in range(most):
        row = [(0, ())]
        for end in range(1, len(sizes) + 1):
            size = int(sizes[end - 1])
            options = (
                (cost + size * int(total[end] - total[start]), (*chosen, size))
                for start in range(end)
                for cost, chosen in [best[-1][start]]
                if start == 0 or chosen
            )
            row.append(min(options))
        best.append(row)
    chosen = min(row[-1] for row in best[1:])[1]
    return chosen if chosen[-1] >= longest else (*chosen, longest)


def pack(rows: Sequence[Row], shapes: Shapes) -> list[Batch]:
    """Pack rows into as few calls as hold them, large ones first."""
    by_walk: dict[int, list[Row]] = {}
    for row in rows:
        by_walk.setdefault(id(row.walk), []).append(row)
    return pack_trees([tree for mine in by_walk.values() for tree in grow(mine, shapes.lengths[-1])], shapes)


def pack_trees(trees: Sequence[Tree], shapes: Shapes) -> list[Batch]:
    """Pack trees, none of them longer than the longest lane, into as few calls as hold them, large ones first."""
    by_length: dict[int, list[list[Tree]]] = {length: [] for length in shapes.lengths}
    for lane in _lanes(trees, shapes.lengths[-1]):
        used = sum(len(tree.tokens) for tree in lane)
        by_length[next(length for length in shapes.lengths if length >= used)].append(lane)
    batches = []
    for place, length in reversed(list(enumerate(shapes.lengths))):
        lanes, sizes = by_length[length], shapes.lanes(length)
        while lanes:
            # a call that holds the rest, unless several of a smaller one would do
            size = next((size for size in reversed(sizes) if len(lanes) <= size * SMALL * 5 // 8), sizes[0])
            call, lanes = lanes[:size], lanes[size:]
            for shorter in shapes.lengths[:place]:  # a few short lanes save their call where there is room for all
                if len(by_length[shorter]) <= size - len(call):
                    call += by_length[shorter]
                    by_length[shorter] = []
            batches.append(_assemble(call, size, length, shapes))
    return batches


def _lanes(trees: Sequence[Tree], capacity: int) -> list[list[Tree]]:
    """Trees that share a prefix side by side, up to `capacity` tokens: the largest first, each where it fits best."""
    lanes: list[list[Tree]] = []
    free: dict[int, list[list[list[Tree]]]] = {}  # per prefix: lanes by the tokens they have left
    for tree in sorted(trees, key=lambda tree: -len(tree.tokens)):
        size = len(tree.tokens)
        mine = free.setdefault(tree.walk.prefix, [[] for _ in range(capacity + 1)])
        left = next((left for left in range(size, capacity + 1) if mine[left]), None)
        if left is None:
            left, lane = capacity, []
            lanes.append(lane)
        else:
            lane = mine[left].pop()
        lane.append(tree)
        mine[left - size].append(lane)
    return lanes


def _assemble(lanes: list[list[Tree]], size: int, length: int, shapes: Shapes) -> Batch:
    """Fill a call of `size` lanes of `length` tokens; lanes are dealt to the shards in turn."""
    shards = shapes.shards
    per_shard = size // shards
    tokens, depth = np.zeros((2, size, length), np.int32)
    end = np.tile(np.arange(1, length + 1, dtype=np.int32), (size, 1))  # padding sees itself
    prefix = np.zeros(size, np.int32)
    asked: list[list[tuple[int, Asker, Node]]] = [[] for _ in range(shards)]
    real = 0
    for index, lane in enumerate(lanes):
        shard, inner = index % shards, index // shards
        row = shard * per_shard + inner
        prefix[row] = lane[0].walk.prefix
        start = 0
        for tree in lane:
            span = np.s_[row, start : start + len(tree.tokens)]
            tokens[span], depth[span], end[span] = tree.tokens, tree.depth, np.add(tree.end, start)
            offset = inner * length + start
            asked[shard] += [(offset + node.place, tree.walk, node) for node in tree.nodes]
            start += len(tree.tokens)
        real += start
    return Batch(tokens, depth, end, prefix, list(_judged(asked, shapes)), real, int(depth.sum()) + real)


def _judged(asked: list[list[tuple[int, Asker, Node]]], shapes: Shapes) -> Iterator[Judged]:
    """The judged positions of every shard, cut into calls."""
    start, most = 0, max(map(len, asked))
    while start < most:
        size = next((size for size in reversed(shapes.position_calls) if most - start <= size), shapes.positions)
        shape = (len(asked), size)
        where, step, targets = np.zeros((3, *shape), np.int32)
        names = np.zeros((*shape, 3), np.uint32)
        nodes = []
        for shard, mine in enumerate(asked):
            mine = mine[start : start + size]
            span = np.s_[shard, : len(mine)]
            if mine:
                where[span] = [place for place, *_ in mine]
                step[span] = [len(node.path) for *_, node in mine]
                names[span] = [walk.name for _, walk, _ in mine]
                targets[span] = [node.target or 0 for *_, node in mine]
            nodes += [(shard, place, walk, node) for place, (_, walk, node) in enumerate(mine)]
        yield Judged(where, step, names, targets, nodes)
        start += size
