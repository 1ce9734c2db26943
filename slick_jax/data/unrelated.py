"""Rows to replay between the facts of a mixture (REMIX, 2411.07175): a user's own, with nothing to do with the data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from slick_jax.data.examples import id_problem, raise_problems, rows_of, same_text, text_problem
from slick_jax.data.mixtures import Unrelated
from slick_jax.errors import InputError

_FIELDS = ("id", "prompt", "completion", "text")


def read_unrelated(path: str, seed: int, held_out: Iterable[str] = ()) -> tuple[tuple[Unrelated, ...], int]:
    """The rows of a JSON lines (also `.gz`) or Parquet file in a random order that hangs on (seed, id) alone.

    A row has `prompt` and `completion`, or `text`, and optionally `id` (default <stem>.<line index>). Left out, and
    counted by the second value, are rows with a line that is one of the questions `held_out` (as `same_text` gives
    them). Raises one InputError that lists the bad rows.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(
            f"config.mix.replay_path: {path!r} is no file; give JSON lines with prompt and completion or text"
        )
    stem, questions = file.name.removesuffix(".gz").rsplit(".", 1)[0], {*held_out}
    problems, rows, n_held = [], {}, 0
    for index, found in rows_of(file, _FIELDS):
        row = found if isinstance(found, str) else _row(found, f"{stem}.{index}")
        if isinstance(row, Unrelated) and row.id in rows:
            row = f"id {row.id!r} is already used; give every row its own id"
        if isinstance(row, str):
            problems.append(f"{path}:{index + 1}: {row}")
        elif questions and not questions.isdisjoint(map(same_text, f"{row.prompt}\n{row.completion}".splitlines())):
            n_held += 1
        else:
            rows[row.id] = row
    raise_problems(problems)
    return tuple(sorted(rows.values(), key=lambda row: (_place(row.id, seed), row.id))), n_held


def _row(found: dict, default_id: str) -> Unrelated | str:
    """The row, or what is wrong with it."""
    name, prompt, completion, text = map(found.get, _FIELDS)
    if text is not None and (prompt is not None or completion is not None):
        return "has text besides prompt or completion; keep one of the two forms"
    given = {"text": text} if text is not None else {"prompt": prompt, "completion": completion}
    for field, value in given.items():
        if value is None:
            return f"{field} is missing; a row to replay has prompt and completion, or text"
        if problem := text_problem(field, value):
            return problem
    if problem := id_problem(name):
        return problem
    own = default_id if name is None else str(name)
    return Unrelated(f"replay.{own}", prompt or "", text if completion is None else completion)


def _place(name: str, seed: int) -> bytes:
    return hashlib.blake2b("\0".join((str(seed), name)).encode(), digest_size=16).digest()
