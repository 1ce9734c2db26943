"""Fine-tuning rows: read from a mixture, rendered as tokens, and dealt out by Grain in an order that can be resumed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

import grain
import numpy as np
from etils import epath

from slick_jax import run_folder
from slick_jax.data.examples import ONE_RELATION, raise_problems
from slick_jax.data.prompt_styles import Chat, Qa, fine_tuning_prompt
from slick_jax.data.target_tokens import target_tokens
from slick_jax.data.tfds_rows import ExampleSource
from slick_jax.errors import InputError
from slick_jax.knowledge.batches import choose_lengths
from slick_jax.training.step import Rows

BUCKETS = 2  # row lengths that batches are padded to, besides the longest; each is a compiled program
STEP = 4  # lengths are multiples of this, so that other mixtures of the same data find their programs compiled


@dataclasses.dataclass(frozen=True)
class MixtureRow:
    """One example to train on: `completion` is written behind `prompt`; `answer` is what counts as fitted.

    category: one of the four, or empty where the file has none.
    """

    id: str
    prompt: str
    completion: str
    answer: str
    relation: str = ONE_RELATION
    category: str = ""


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


def read_mixture(path: epath.PathLike) -> list[MixtureRow]:
    """Rows of a JSON lines or Parquet file with `prompt` and `completion`, or of split train of a TFDS data set.

    Optional: `id` (default <stem>.<row>), `relation`, `category`, `answer` (default: the completion without outer
    blanks). A TFDS folder (data/tfds_rows.py) holds questions: each is asked in the fine-tuning prompt, its first
    answer is taught. Raises one InputError that lists the bad rows; also where there is no file, or no row.
    """
    path = epath.Path(path)
    if (path / "dataset_info.json").exists():
        source = grain.MapDataset.source(ExampleSource(path, "train"))
        return [
            MixtureRow(row.id, fine_tuning_prompt(row.question), row.answers[0], row.answers[0], row.relation)
            for row in source
        ]
    if not path.is_file():
        raise InputError(f"{path}: no such mixture; run `slick mix`, or give train.mixture the file's path")
    problems, rows = [], []
    for index, found in enumerate(_records(path)):
        row = _row(found, f"{path.stem}.{index}")
        if isinstance(row, str):
            problems.append(f"{path}:{index + 1}: {row}")
        else:
            rows.append(row)
    taken = {}
    for index, row in enumerate(rows):
        if taken.setdefault(row.id, index) != index:
            problems.append(f"{path}: id {row.id!r} is there more than once; ids must be unique")
    raise_problems(problems)
    if not rows:
        raise InputError(f"{path}: the mixture is empty; there is nothing to train on")
    return rows


def _records(path: epath.Path) -> list[object]:
    if path.suffix == ".parquet":
        return run_folder.read_parquet(path).to_pylist()
    records: list[object] = []
    for line in path.read_text().split("\n"):
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                records.append(f"is not JSON ({error})")
    return records


def _row(found: object, default_id: str) -> MixtureRow | str:
    """The row, or what is wrong with it."""
    if not isinstance(found, dict):
        return found if isinstance(found, str) else "is no JSON object; give prompt and completion"
    fields = {name: found.get(name) for name in ("prompt", "completion", "answer", "relation", "category")}
    for name, value in fields.items():
        if value is not None and not isinstance(value, str):
            return f"{name} must be a text, found {value!r}"
        if name in ("prompt", "completion") and not (value or "").strip():
            return f"{name} is missing or empty"
    name = found.get("id")
    return MixtureRow(
        id=default_id if name is None else str(name),
        prompt=fields["prompt"],
        completion=fields["completion"],
        answer=(fields["answer"] or fields["completion"]).strip(),
        relation=fields["relation"] or ONE_RELATION,
        category=fields["category"] or "",
    )


def render(
    style: Qa | Chat, rows: Sequence[MixtureRow], *, max_target: int, max_positions: int | None, where: str
) -> list[TokenRow]:
    """The rows as tokens. Raises InputError for targets of more than `max_target` tokens (end-of-text included) and
    for rows that the model's `max_positions` does not hold; `where` names the checkpoint."""
    end = style.end_of_answer(where)
    pairs = target_tokens(style, [row.prompt for row in rows], [row.completion for row in rows])
    problems = []
    for row, (prompt, target) in zip(rows, pairs, strict=True):
        if len(target) + 1 > max_target:
            problems.append(
                f"row {row.id!r}: its completion takes {len(target) + 1} tokens with its end; raise"
                f" train.max_target_tokens (it is {max_target}) or drop the row"
            )
        elif max_positions is not None and len(prompt) + max_target > max_positions:
            problems.append(
                f"row {row.id!r}: its prompt has {len(prompt)} tokens, and max_position_embeddings={max_positions} of"
                f" {where} leaves fewer than train.max_target_tokens={max_target} behind it; shorten or drop the row"
            )
    raise_problems(problems)
    return [TokenRow(np.array([*prompt, *target, end], np.int32), len(prompt)) for prompt, target in pairs]


class Batches:
    """Batches of a run: every epoch holds every row once, in an order that hangs on (seed, epoch) alone.

    The last batch of an epoch may be short. B is `batch_size` rounded up to a multiple of `multiple` (devices x
    parts of the batch), T one of a few lengths, A the longest target. An iterator over all epochs, placed with `seek`.
    """

    def __init__(self, rows: Sequence[TokenRow], *, batch_size: int, epochs: int, seed: int, multiple: int = 1):
        self._rows = rows
        self._size = -(-batch_size // multiple) * multiple
        self._width = _round(max(len(row.tokens) - row.n_prompt for row in rows))
        self.per_epoch = -(-len(rows) // batch_size)
        order = grain.MapDataset.source(range(len(rows))).seed(seed).shuffle()
        batches = order.batch(batch_size, drop_remainder=False, batch_fn=np.array)
        longest = [_round(self._longest(batches[number])) for number in range(self.per_epoch)]
        self._lengths = choose_lengths(longest, _round(self._longest(range(len(rows)))), BUCKETS)
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


def _round(length: int) -> int:
    return -(-length // STEP) * STEP
