"""Rows of the sampler, on the host: draws that have the same tokens so far share one, and rows that read the same keys
stand together in chunks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from slick_jax.sampling.steps import Layout

WORTH_SHARING = 15 / 16  # rows a draw; with more, every draw gets a row of its own, which never has to be split
STEP = 64  # rows are a multiple of this, from there on
PREFIX_CHUNKS = 64  # of rows that share a prefix, when all rows are there
PROMPT_ROWS = 4  # of a chunk of rows that share a prompt


def row_counts(most: int) -> tuple[int, ...]:
    """The few numbers of rows that are compiled, falling by about a quarter each time; the first holds `most`."""
    if most <= STEP:
        return (most,)
    counts = [-(-most // STEP) * STEP]
    while counts[-1] > STEP:
        counts.append(max(STEP, int(counts[-1] * 0.75) // STEP * STEP))
    return tuple(counts)


def plan(
    row_of: Int[np.ndarray, "S D"], tokens: Int[np.ndarray, "S D"], active: np.ndarray, prefix: Int[np.ndarray, "S G"],
    draws: int, counts: tuple[int, ...], most_prefixes: int,
) -> tuple[Layout, int]:  # fmt: skip
    """Rows for the active draws, `draws` of every prompt; a shard's prompts have at most `most_prefixes` prefixes.

    Args:
      row_of: row of every draw so far; tokens: what each drew last; prefix: bank slot of every prompt.
      counts: numbers of rows to choose from, falling.

    Returns:
      the layout, and how many rows may be left until a smaller one would hold them.
    """
    found = [_rows(*parts) for parts in zip(row_of, tokens, active, strict=True)]
    shared = sum(len(rows) for rows, _ in found)
    if shared > WORTH_SHARING * active.sum():
        found = [_own_rows(*parts) for parts in zip(row_of, active, strict=True)]
    most = max(len(rows) for rows, _ in found)
    fitting = [count for count in counts if count >= most]
    count = fitting[-1]
    place = counts.index(count) + 1
    floor = counts[place] if place < len(counts) else 0
    shards = len(row_of)
    parents, prompts = np.zeros((shards, count), np.int32), np.zeros((shards, count), np.int32)
    new_row_of = np.zeros(row_of.shape, np.int32)
    for shard, (rows, of) in enumerate(found):
        alive = np.flatnonzero(active[shard])
        first = alive[np.unique(of, return_index=True)[1]]  # a draw of every row; rows are numbered in its order
        parents[shard, : len(rows)] = rows
        prompts[shard, : len(rows)] = first // draws
        new_row_of[shard, alive] = of
    numbers = [len(rows) for rows, _ in found]
    readers = [np.take_along_axis(prefix, prompts, axis=1), prompts]
    together = max(1, count // PREFIX_CHUNKS)
    chunk_rows, chunks = [together, PROMPT_ROWS], [-(-count // together) + most_prefixes, -(-count // 2)]
    if draws == 1 or any(_chunks_needed(p[:n], PROMPT_ROWS) > chunks[1] for p, n in zip(prompts, numbers, strict=True)):
        chunk_rows[1], chunks[1] = 1, count
    parts = [
        [_chunked(of[:n], rows, number, count) for of, n in zip(which, numbers, strict=True)]
        for which, rows, number in zip(readers, chunk_rows, chunks, strict=True)
    ]
    sources, members, places = (tuple(np.stack([one[i] for one in part]) for part in parts) for i in range(3))
    return Layout(parents, prompts, new_row_of, sources, members, places), floor


def _rows(row_of: np.ndarray, tokens: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(parent of every row, row of every active draw), where draws of a row with the same last token stay together."""
    pairs = row_of[active].astype(np.int64) << 32 | tokens[active]
    distinct, inverse = np.unique(pairs, return_inverse=True)
    return (distinct >> 32).astype(np.int32), inverse.astype(np.int32)


def _own_rows(row_of: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parents = row_of[active].astype(np.int32)
    return parents, np.arange(len(parents), dtype=np.int32)


def _chunks_needed(readers: np.ndarray, rows: int) -> int:
    return int(sum(-(-np.unique(readers, return_counts=True)[1] // rows)))


def _chunked(readers: np.ndarray, rows: int, chunks: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, each reading source `readers`, in chunks of up to `rows` with one source: (sources, members, places)."""
    order = np.argsort(readers, kind="stable")
    _, start, number = np.unique(readers[order], return_index=True, return_counts=True)
    needed = -(-number // rows)
    first = np.cumsum(needed) - needed  # chunk with which each source begins
    inside = np.arange(len(order)) - np.repeat(start, number)
    place = (np.repeat(first, number) + inside // rows) * rows + inside % rows
    members, sources = np.zeros(chunks * rows, np.int32), np.zeros(chunks, np.int32)
    places = np.zeros(count, np.int32)
    members[place], places[order], sources[place // rows] = order, place, readers[order]
    return sources, members.reshape(chunks, rows), places
