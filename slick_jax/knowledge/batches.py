"""Token trees packed into few fixed shapes: several trees that share a prefix in a lane, lanes in a device call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from slick_jax.knowledge.shapes import SMALL, Shapes
from slick_jax.knowledge.trees import Asker, Kept, Node, Tree, grow
from slick_jax.knowledge.walk import Path, Row


@dataclasses.dataclass(frozen=True)
class Judged:
    """The M positions per shard of one call of the decision: where int32[S M] in the shard's tokens, the answer
    position step int32[S M], names uint32[S M 3] (id words, exemplar slot), targets int32[S M] (0 where none);
    nodes: (shard, position, asker, node)."""

    where: np.ndarray
    step: np.ndarray
    names: np.ndarray
    targets: np.ndarray
    nodes: list[tuple[int, int, Asker, Node]]


class Lanes(NamedTuple):
    """G lanes of T tokens over all shards, as the forward pass takes them.

    prefix int32[G] (slot of the bank); tokens, depth, end int32[G T] (`attention.Forest`). Behind kept questions: slots
    int32[G Q] of the pool that a lane sees, and of these those that each token sees, from first up to last int32[G T].
    """

    prefix: np.ndarray
    tokens: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    slots: np.ndarray | None = None
    first: np.ndarray | None = None
    last: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Batch:
    """One call of the forward pass, and the positions that are judged.

    real: tokens that are no padding; seen: tokens of their own trees that they attend to together; homes: every tree
    with its place in the tokens of its shard, (tree, shard, place).
    """

    lanes: Lanes
    judged: list[Judged]
    real: int
    seen: int
    homes: list[tuple[Tree, int, int]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Lane:
    """Trees side by side: they share a prefix, and a shard where their questions are kept."""

    trees: list[Tree]
    tokens: int = 0
    slots: int = 0

    def add(self, tree: Tree) -> None:
        self.trees.append(tree)
        self.tokens += len(tree.tokens)
        self.slots += len(tree.kept.slots) if tree.kept else 0


def pack(
    rows: Sequence[Row], shapes: Shapes, kept: Callable[[Asker, Path], Kept | None] | None = None
) -> list[Batch]:
    """Pack rows into as few calls as hold them, large ones first. `kept`: what was forwarded of a walk's path before
    its last token."""
    groups: dict[tuple, tuple[Kept | None, list[Row]]] = {}
    for row in rows:
        before = kept and kept(row.walk, row.path)
        groups.setdefault((id(row.walk), before and before.path), (before, []))[1].append(row)
    longest = {False: shapes.lengths[-1], True: shapes.behind[-1][0] if shapes.behind else 0}
    trees = [tree for before, mine in groups.values() for tree in grow(mine, longest[before is not None], before)]
    return pack_trees(trees, shapes)


def pack_trees(trees: Sequence[Tree], shapes: Shapes) -> list[Batch]:
    """Pack trees, none of them longer than the longest lane, into as few calls as hold them, large ones first."""
    whole, behind = ([tree for tree in trees if (tree.kept is None) is alone] for alone in (True, False))
    return [
        *_calls(whole, [(length, 0) for length in shapes.lengths], shapes),
        *_calls(behind, shapes.behind, shapes),
    ]


def _calls(trees: Sequence[Tree], sizes: Sequence[tuple[int, int]], shapes: Shapes) -> Iterator[Batch]:
    """Calls of these trees in lanes of `sizes`, (T, Q) rising."""
    if not trees:
        return
    waiting = {size: [[] for _ in range(shapes.shards)] for size in sizes}  # per shard
    for number, lane in enumerate(_lanes(trees, *sizes[-1])):
        size = next(size for size in sizes if lane.tokens <= size[0] and lane.slots <= size[1])
        kept = lane.trees[0].kept
        waiting[size][kept.shard if kept else number % shapes.shards].append(lane)
    for place, size in reversed(list(enumerate(sizes))):
        counts = [lanes // shapes.shards for lanes in shapes.lanes(size[0])]
        while most := max(map(len, waiting[size])):
            # a call that holds the rest, unless several of a smaller one would do
            count = next((count for count in reversed(counts) if most <= count * SMALL * 5 // 8), counts[0])
            call = [lanes[:count] for lanes in waiting[size]]
            waiting[size] = [lanes[count:] for lanes in waiting[size]]
            for shorter in sizes[:place]:  # a few short lanes save their call where there is room for all
                if all(len(more) + len(lanes) <= count for more, lanes in zip(waiting[shorter], call, strict=True)):
                    for more, lanes in zip(waiting[shorter], call, strict=True):
                        lanes += more
                        more.clear()
            yield _assemble(call, count, *size, shapes)


def _lanes(trees: Sequence[Tree], capacity: int, slots: int) -> list[_Lane]:
    """Trees side by side, up to `capacity` tokens and `slots` kept ones: the largest first, each where it fits best."""
    lanes: list[_Lane] = []
    free: dict[tuple, list[list[_Lane]]] = {}  # per prefix and shard: lanes by the tokens they have left
    for tree in sorted(trees, key=lambda tree: -len(tree.tokens)):
        size, kept = len(tree.tokens), len(tree.kept.slots) if tree.kept else 0
        key = tree.asker.prefix, tree.kept and tree.kept.shard
        mine = free.setdefault(key, [[] for _ in range(capacity + 1)])
        fitting = (lane for left in range(size, capacity + 1) for lane in mine[left] if lane.slots + kept <= slots)
        lane = next(fitting, None)
        if lane is None:
            lane = _Lane([])
            lanes.append(lane)
        else:
            mine[capacity - lane.tokens].remove(lane)
        lane.add(tree)
        mine[capacity - lane.tokens].append(lane)
    return lanes


def _assemble(call: list[list[_Lane]], count: int, length: int, slots: int, shapes: Shapes) -> Batch:
    """Fill a call of `count` lanes per shard, of `length` tokens behind `slots` kept ones."""
    shape = len(call) * count, length
    tokens, depth, first, last = np.zeros((4, *shape), np.int32)
    end = np.tile(np.arange(1, length + 1, dtype=np.int32), (shape[0], 1))  # padding sees itself
    prefix, kept_slots = np.zeros(shape[0], np.int32), np.zeros((shape[0], slots), np.int32)
    asked: list[list[tuple[int, Asker, Node]]] = [[] for _ in call]
    homes: list[tuple[Tree, int, int]] = []
    real = 0
    for shard, lanes in enumerate(call):
        for inner, lane in enumerate(lanes):
            row, start, behind = shard * count + inner, 0, 0
            prefix[row] = lane.trees[0].asker.prefix
            for tree in lane.trees:
                span = np.s_[row, start : start + len(tree.tokens)]
                tokens[span], depth[span], end[span] = tree.tokens, tree.depth, np.add(tree.end, start)
                offset = inner * length + start
                if tree.kept:
                    first[span], last[span] = behind, behind + len(tree.kept.slots)
                    kept_slots[row, behind : behind + len(tree.kept.slots)] = tree.kept.slots
                    behind += len(tree.kept.slots)
                homes.append((tree, shard, offset))
                asked[shard] += [(offset + node.place, tree.asker, node) for node in tree.nodes]
                start += len(tree.tokens)
            real += start
    kept = (kept_slots, first, last) if slots else ()
    return Batch(
        Lanes(prefix, tokens, depth, end, *kept), list(_judged(asked, shapes)), real, int(depth.sum()) + real, homes
    )


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
                names[span] = [asker.name for _, asker, _ in mine]
                targets[span] = [node.target or 0 for *_, node in mine]
            nodes += [(shard, place, asker, node) for place, (_, asker, node) in enumerate(mine)]
        yield Judged(where, step, names, targets, nodes)
        start += size
