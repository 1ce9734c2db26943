"""Texts as the model under study reads them: forward passes of padded rows in few shapes, reduced on the device."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from slick_jax.compilation import jitted
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError, not_finite
from slick_jax.knowledge.shapes import call_tokens
from slick_jax.mesh import batch_sharding, batch_shards, place, readable, replicated
from slick_jax.models.transformer import KV, Network, Params
from slick_jax.progress import Progress

SHORTEST = 32  # tokens of the shortest padded row
LEAST_SHARED = 64  # tokens that all rows begin with are read once from here on
CHUNK = 4096  # texts handed to the tokenizer at once
NAMED = 5  # rows that an error names


class Row(NamedTuple):
    """A text as tokens; `start` is the first of them that is not of its context alone."""

    tokens: Sequence[int]
    start: int


@dataclass(frozen=True)
class Reader:
    """The model whose belief is asked for.

    params: on the devices of `mesh`; tokens: of a call, per shard of the batch; 0: as many as the backend is fast at.
    """

    network: Network
    params: Params
    mesh: Mesh
    tokenizer: Tokenizer
    tokens: int = 0

    def rows(self, contexts: Sequence[str], texts: Sequence[str], names: Sequence[str] = ()) -> list[Row]:
        """Each text behind its context, tokenised whole. Raises InputError where that is more than the model reads;
        `names`: of the texts, such as the ids of claims."""
        distinct = list(dict.fromkeys(contexts))
        opened = dict(zip(distinct, self._encode(distinct), strict=True))
        whole = self._encode([context + text for context, text in zip(contexts, texts, strict=True)])
        rows = [Row(row, max(_common(opened[one], row), 1)) for one, row in zip(contexts, whole, strict=True)]
        most = self.network.spec.max_position_embeddings
        long = [place for place, row in enumerate(rows) if len(row.tokens) > most]
        if long:
            shown = ", ".join(names[at] if names else repr(f"...{texts[at][-60:]}") for at in long[:NAMED])
            raise InputError(
                f"{len(long)} claims have more tokens, with their context, than the model's"
                f" max_position_embeddings={most} ({shown}); shorten the context, or make claims of single sentences"
            )
        return rows

    def read(
        self, program: Callable, rows: Sequence[Row], *columns: np.ndarray, done: int = 0, progress: str = ""
    ) -> Iterator[tuple[np.ndarray, Any]]:
        """Run `program` over all rows, call by call, in order of length: (their numbers [b], its result for them).

        Args:
          program: (network, ids of the tokenizer, params, keys and values of what all rows begin with or None, tokens
            [B T], lengths [B], starts [B], *columns [B]) -> pytree of arrays [B ...]; a function of a module, so that
            it is compiled once for each shape.
          columns: whole numbers, one a row, such as a token to look up.
          done: rows, in that order, that an earlier run has read: their results are not given again.
          progress: name of the work on its progress line; empty for none.

        Raises InputError on a NaN or infinite result.
        """
        shared = _shared(rows)
        run = jitted(program, self.network, self.tokenizer.n_ids, out_shardings=readable(self.mesh))
        kv = self._prefix(rows[0].tokens[:shared]) if shared else None
        shown = Progress(progress, len(rows), "texts", done) if progress else None
        # Collectives of several programs under way starve each other of threads on XLA's CPU backend.
        ahead = 0 if jax.default_backend() == "cpu" and self.mesh.size > 1 else 1
        waiting: list[tuple[np.ndarray, Any]] = []
        for batch in itertools.chain(self._batches(rows, columns, done, shared), [None]):
            if batch is not None:
                waiting.append((batch[0], self._dispatch(run, kv, *batch[1:])))
            while len(waiting) > (ahead if batch is not None else 0):
                numbers, result = waiting.pop(0)
                yield numbers, _fetched(result, len(numbers))
                done += len(numbers)
                if shown is not None:
                    shown.show(done)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        parts = (self.tokenizer.encode_batch(texts[at : at + CHUNK]) for at in range(0, len(texts), CHUNK))
        return [row for part in parts for row in part]

    def _prefix(self, tokens: Sequence[int]) -> KV:
        """Keys and values of what all rows begin with: a group of its own, whole on every shard."""
        padded = np.zeros((1, self._padded(len(tokens))), np.int32)
        padded[0, : len(tokens)] = tokens
        with jax.set_mesh(self.mesh):
            everywhere = replicated(self.mesh)
            run = jitted(Network.prefix, self.network, out_shardings=everywhere)
            return run(self.params, place(padded, everywhere), place(np.array([len(tokens)], np.int32), everywhere))

    def _batches(
        self, rows: Sequence[Row], columns: Sequence[np.ndarray], done: int, shared: int
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Numbers of rows of like length, and what the program is given of them, without the `shared` tokens."""
        lengths = np.array([len(row.tokens) - shared for row in rows], np.int64)
        starts = np.array([row.start - shared for row in rows], np.int64)
        order = np.argsort(lengths, kind="stable")
        padded = np.array([self._padded(int(length), shared) for length in lengths[order]])
        budget = self.tokens or call_tokens(jax.default_backend(), 0, 1)
        while done < len(order):
            length = int(padded[done])
            lanes = max(budget // length, 1) * batch_shards(self.mesh)
            numbers = order[done : min(done + lanes, int(np.searchsorted(padded, length, side="right")))]
            tokens = np.zeros((lanes, length), np.int32)
            for lane, number in enumerate(numbers):
                tokens[lane, : lengths[number]] = rows[number].tokens[shared:]
            given = [np.ones(lanes, np.int32) for _ in range(2 + len(columns))]  # rows of padding are texts of a token
            for array, column in zip(given, (lengths, starts, *columns), strict=True):
                array[: len(numbers)] = column[numbers]
            yield numbers, tokens, *given
            done += len(numbers)

    def _padded(self, length: int, shared: int = 0) -> int:
        """The next of 32, 48, 64, 96, ...: lengths that hang on nothing else, so that parts of a corpus share programs;
        never past the model's positions, where learned ones have no embedding."""
        size = SHORTEST
        while size < length:
            size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
        return min(size, self.network.spec.max_position_embeddings - shared)

    def _dispatch(self, run: Callable, kv: KV | None, *arrays: np.ndarray) -> Any:
        with jax.set_mesh(self.mesh):  # not around a `yield`: it is a setting of the thread
            return run(self.params, kv, *(place(array, batch_sharding(self.mesh, array.ndim)) for array in arrays))


def _fetched(result: Any, n: int) -> Any:
    """The result of `n` rows as numpy arrays."""
    result = jax.tree.map(lambda array: array[:n], jax.device_get(result))
    if not all(np.isfinite(array).all() for array in jax.tree.leaves(result)):
        raise not_finite("a state or logit", "nothing can be read from it")
    return result


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens that both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _shared(rows: Sequence[Row]) -> int:
    """Tokens that the contexts of all rows begin with, where these are worth reading once; else 0. The last token of a
    context is left to its row, as it is what the first token of the text is predicted from."""
    shared = min((row.start - 1 for row in rows), default=0)
    for row in rows:
        if shared < LEAST_SHARED:
            return 0
        shared = min(shared, _common(rows[0].tokens[:shared], row.tokens))
    return shared if shared >= LEAST_SHARED else 0
