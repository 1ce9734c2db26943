"""Rows of token paths packed into few fixed shapes: groups of rows that share a prefix, padded to buckets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from slick_jax.knowledge.walk import Row

SMALL_CALL = 8  # groups of the small call that takes what is left over
LENGTHS = 3  # row lengths that rows are padded to; more would cost more in compilation than they save in padding


@dataclasses.dataclass(frozen=True)
class Batch:
    """One call of the device program: G groups of B rows of T tokens, cut over S shards along G, and the M positions
    per shard that are judged.

    tokens int32[G B T]; prefix int32[G] (index into the bank); where int32[S M] (position in the shard's G/S * B * T
    tokens); step int32[S M] (answer position t); names uint32[S M 3] (id words, exemplar slot); targets int32[S M]
    (token whose log-probability is asked for, 0 where none); rows: (shard, offset of its first judged position, row).
    """

    tokens: np.ndarray
    prefix: np.ndarray
    where: np.ndarray
    step: np.ndarray
    names: np.ndarray
    targets: np.ndarray
    rows: list[tuple[int, int, Row]]


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The few shapes that are compiled for a run: a large and a small call, each at a handful of row lengths.

    lengths: row lengths T, rising; the last one holds every row. groups, group_rows: G x B of the large call, over all
    shards. positions: judged positions of the large call, over all shards; most_judged: of a single row at most.
    """

    lengths: tuple[int, ...]
    groups: int
    group_rows: int
    positions: int
    most_judged: int
    shards: int = 1

    def call(self, large: bool) -> tuple[int, int]:
        """(groups G over all shards, positions M per shard) of the large or the small call."""
        groups = self.groups if large else min(SMALL_CALL, self.groups)
        groups = -(-groups // self.shards) * self.shards
        positions = self.positions * groups // self.groups // self.shards
        return groups, max(positions, self.group_rows * self.most_judged)


def choose_lengths(lengths: Sequence[int], longest: int, most: int = LENGTHS) -> tuple[int, ...]:
    """At most `most` row lengths to pad to, with the least padding over rows of these `lengths`, and `longest` on top.

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
    """Pack rows into large calls, and small ones for what is left over. Rows of a group share their prefix."""

    def length(row: Row) -> int:
        return next(size for size in shapes.lengths if size >= len(row.tokens))

    ordered = sorted(rows, key=lambda row: (-length(row), row.prefix, -len(row.tokens)))
    chunks: list[tuple[int, list[Row]]] = []
    for row in ordered:
        last = chunks[-1] if chunks else None
        if last is None or len(last[1]) == shapes.group_rows or last[1][0].prefix != row.prefix:
            chunks.append((length(row), []))
        chunks[-1][1].append(row)
    batches, start = [], 0
    while start < len(chunks):
        size = chunks[start][0]
        waiting = sum(chunk[0] == size for chunk in chunks[start : start + shapes.groups])
        groups, positions = shapes.call(large=waiting > shapes.call(large=False)[0])
        taken, counts = 0, [0] * shapes.shards
        while taken < min(groups, len(chunks) - start):
            counts[taken % shapes.shards] += sum(row.judged for row in chunks[start + taken][1])
            if max(counts) > positions:
                break
            taken += 1
        call = [chunk for _, chunk in chunks[start : start + taken]]
        batches.append(_assemble(call, (groups, shapes.group_rows, size), (shapes.shards, positions)))
        start += taken
    return batches


def _assemble(chunks: list[list[Row]], shape: tuple[int, int, int], judged: tuple[int, int]) -> Batch:
    """Fill a call: tokens of `shape` (G, B, T), positions of `judged` (S, M); chunks go to the shards in turn."""
    (groups, group_rows, length), shards = shape, judged[0]
    per_shard = groups // shards
    tokens, prefix = np.zeros(shape, np.int32), np.zeros(groups, np.int32)
    where, step, targets = (np.zeros(judged, np.int32) for _ in range(3))
    names = np.zeros((*judged, 3), np.uint32)
    rows, filled = [], [0] * shards
    for index, chunk in enumerate(chunks):
        shard, inner = index % shards, index // shards
        prefix[shard * per_shard + inner] = chunk[0].prefix
        for b, row in enumerate(chunk):
            count, offset = len(row.tokens), filled[shard]
            tokens[shard * per_shard + inner, b, :count] = row.tokens
            span = np.s_[shard, offset : offset + row.judged]
            end = (inner * group_rows + b) * length + count
            where[span] = np.arange(end - row.judged, end)
            step[span] = np.arange(row.depth, row.depth + row.judged)
            names[span] = row.name
            if row.targets:
                targets[span] = row.targets
            rows.append((shard, offset, row))
            filled[shard] += row.judged
    return Batch(tokens, prefix, where, step, names, targets, rows)
