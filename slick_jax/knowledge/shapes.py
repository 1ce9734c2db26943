"""The few shapes of device calls that are compiled for a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

LANE = 64  # tokens of the longest lanes, where single trees are shorter: it decides how well trees fill them
SMALL = 8  # a call of what is left over is this many times smaller than the next larger one
LEAST_TOKENS = 128  # per shard, of the smallest call; a smaller one would take as long
TOKENS = {"cpu": 1024, "gpu": 16384}  # of a large call per shard: from here on the matmuls are at their best rate
LENGTHS = 2  # shorter lanes for trees that stay alone; more would cost more in compilation than they save in padding
BEHIND = 8, 32  # tokens of lanes behind kept questions: of single trees, and of several that share a prefix
TREE = 4  # tokens of such a tree, about: for so many a lane has slots for another question


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The few shapes that are compiled for a run.

    lengths: lane lengths T, rising; the last one holds every tree. tokens: of a large call; positions: judged at once;
    both per shard. shards: slices of the mesh that lanes are dealt to. behind: (T, Q) of lanes whose trees stand behind
    questions that are kept on the device, in Q slots a lane; rising.
    """

    lengths: tuple[int, ...]
    tokens: int
    positions: int
    shards: int = 1
    behind: tuple[tuple[int, int], ...] = ()

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
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(T, Q) of all lanes; Q is 0 for those that hold their questions themselves."""
        return (*((length, 0) for length in self.lengths), *self.behind)

    @property
    def calls(self) -> list[tuple[int, int, int]]:
        """(G, T, Q) of every forward pass."""
        return [(lanes, length, slots) for length, slots in self.sizes for lanes in self.lanes(length)]


def choose_shapes(
    lengths: Sequence[int], longest: int, tokens: int, shards: int, *, part: int = 0, questions: Sequence[int] = (),
    path: int = 0,
) -> Shapes:  # fmt: skip
    """Shapes for a run whose first trees have these `lengths`, and later ones at most `longest` tokens.

    tokens: of a large call, per shard; 0: as many as the kind of device is fast at, and no more than those of a `part`
    over all shards. Where questions are kept, questions: their tokens; path: those of the longest path behind one.
    """
    longest = max(-(-longest // 16) * 16, LANE)
    tokens = tokens or call_tokens(jax.default_backend(), part, shards)
    behind = []
    if len(questions):
        usual, most = (-(-int(size) // 16) * 16 for size in (np.median(questions), max(questions) + path))
        short, long = BEHIND[0], max(BEHIND[1], path)
        slots = short // TREE * usual
        behind = [(short, slots), (long, max(long // TREE * usual, slots, most))]
    return Shapes(
        choose_lengths(lengths, longest, LENGTHS),
        tokens,
        max(tokens // 16, LEAST_TOKENS),
        shards,
        tuple(behind),
    )


def call_tokens(backend: str, part: int, shards: int) -> int:
    """Tokens of a large call, per shard: as many as `backend` is fast at, and no more than those of a `part` over all
    shards (0: unknown), with an eighth for lanes that are not quite full."""
    fast = TOKENS.get(backend, TOKENS["gpu"])
    return max(min(fast, -(-part * 9 // (8 * shards * LANE)) * LANE), LEAST_TOKENS) if part else fast


def choose_lengths(lengths: Sequence[int], longest: int, most: int) -> tuple[int, ...]:
    """At most `most` lengths to pad to, with the least padding over trees or rows of these `lengths`, and `longest` on
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
