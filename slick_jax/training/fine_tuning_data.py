"""Fine-tuning rows as tokens, dealt out by Grain in an order that can be resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import grain
import numpy as np

from slick_jax.data.examples import raise_problems
from slick_jax.data.mixtures import REPLAY
from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.data.target_tokens import prompt_problem, target_problem, target_tokens
from slick_jax.knowledge.shapes import choose_lengths
from slick_jax.training.mixture_file import MixtureRow
from slick_jax.training.step import Rows

BUCKETS = 2  # row lengths that batches are padded to; each is a compiled program
SHORT = 200  # steps; a run of fewer has one length, as it saves less by a second one than its compilation takes
STEP = 4  # lengths are multiples of this, so that other mixtures of the same data find their programs compiled


@dataclasses.dataclass(frozen=True)
class TokenRow:
    """An example as tokens: prompt, completion, end-of-text; the loss falls on all behind the first `n_prompt`."""

    tokens: np.ndarray
    n_prompt: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """The rows of one step, padded to B x T, with the positions of their A targets; `index` are their numbers in the
    mixture, padding rows left out.

    targets: trained tokens, n_tokens: tokens read (both without padding).
    """

    rows: Rows
    index: np.ndarray
    targets: int
    n_tokens: int


def render(
    style: Qa | Chat,
    rows: Sequence[MixtureRow],
    *,
    max_target: int,
    max_positions: int | None,
    where: str,
    max_replay: int = 0,
) -> list[TokenRow]:
    """The rows as tokens; rows to replay are cut behind `max_replay` trained tokens, and have no end-of-text then.

    Raises InputError for targets of more than `max_target` tokens (end-of-text included) and for rows that the model's
    `max_positions` does not hold; `where` names the checkpoint.
    """
    end = style.end_of_answer(where)
    asked = [row for row in rows if row.prompt]
    pairs = iter(target_tokens(style, [row.prompt for row in asked], [row.completion for row in asked]))
    # Plain text is trained on from its second token, or from its first where the tokenizer begins with another.
    texts = iter(style.tokenizer.encode_batch([row.completion for row in rows if not row.prompt]))
    made, problems = [], []
    for row in rows:
        prompt, target = next(pairs) if row.prompt else _opened(next(texts))
        target = [*target, end]
        if row.role == REPLAY:
            room = max_replay if max_positions is None else min(max_replay, max_positions - len(prompt))
            target = target[: max(room, 0)]
            problem = None if target else f"row {row.id!r}: its prompt of {len(prompt)} tokens leaves {where} no room"
        else:
            problem = target_problem(row.id, "its completion", target[:-1], max_target) or prompt_problem(
                row.id, prompt, max_target, max_positions, where
            )
        problems += [problem] if problem else []
        made.append(TokenRow(np.array([*prompt, *target], np.int32), len(prompt)))
    raise_problems(problems)
    return made


def _opened(tokens: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    return tokens[:1], tokens[1:]


class Batches:
    """Batches of a run: every epoch holds every row once, in an order that hangs on (seed, epoch) alone.

    The last `tail` rows are not shuffled: every epoch ends with them, in their order. The last batch of an epoch may be
    short. B is `batch_size` rounded up to a multiple of `multiple` (devices x parts of the batch), T one of a few
    lengths, A the longest target. An iterator over all epochs, placed with `seek`.
    """

    def __init__(
        self,
        rows: Sequence[TokenRow],
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        multiple: int = 1,
        tail: int = 0,
    ):
        self._rows = rows
        self._size = -(-batch_size // multiple) * multiple
        self._width = _round(max(len(row.tokens) - row.n_prompt for row in rows))
        self.per_epoch = -(-len(rows) // batch_size)
        order = _order(len(rows), seed, tail)
        batches = order.batch(batch_size, drop_remainder=False, batch_fn=np.array)
        longest = [_round(self._longest(batches[number])) for number in range(self.per_epoch)]
        buckets = 1 if epochs * self.per_epoch < SHORT else BUCKETS
        self._lengths = choose_lengths(longest, _round(self._longest(range(len(rows)))), buckets)
        batches = batches.map(self._assemble).repeat(epochs)
        self._iterator = iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)))

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        return next(self._iterator)

    @property
    def state(self) -> dict:
        """Where the iterator stands, for a checkpoint."""
        return self._iterator.get_state()

    def seek(self, state: dict) -> None:
        """Go on from a `state` taken earlier."""
        self._iterator.set_state(state)

    def _longest(self, index: Iterable[int]) -> int:
        """Tokens read of the longest of these rows; the last token of a row is only predicted."""
        return max(len(self._rows[number].tokens) for number in index) - 1

    def _assemble(self, index: np.ndarray) -> Batch:
        longest = self._longest(index)
        tokens = np.zeros((self._size, next(size for size in self._lengths if size >= longest)), np.int32)
        targets, positions = (np.zeros((self._size, self._width), np.int32) for _ in range(2))
        weights = np.zeros((self._size, self._width), np.float32)
        read = 0
        for place, row in enumerate(self._rows[number] for number in index):
            last, count = len(row.tokens) - 1, len(row.tokens) - row.n_prompt
            tokens[place, :last], targets[place, :count] = row.tokens[:-1], row.tokens[row.n_prompt :]
            positions[place, :count] = np.arange(row.n_prompt - 1, last)
            weights[place, :count] = 1.0
            read += last
        return Batch(Rows(tokens, targets, weights, positions), index, int(weights.sum()), read)


def _order(n: int, seed: int, tail: int) -> grain.MapDataset:
    """Numbers of rows, epoch after epoch: shuffled anew each time up to the last `tail`."""
    places = [grain.MapDataset.source(range(n - tail)).seed(seed).shuffle()] if n > tail else []
    if tail:
        places.append(grain.MapDataset.source(range(n - tail, n)))
    return grain.MapDataset.concatenate(places) if len(places) > 1 else places[0]


def _round(length: int) -> int:
    return -(-length // STEP) * STEP
