"""A mixture as it is trained on: rows of prompt and completion, read from a file or a TFDS data set, and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import grain
from etils import epath

from slick_jax.categories import CATEGORIES
from slick_jax.data.examples import ONE_RELATION, id_problem, raise_problems, rows_of, text_problem
from slick_jax.data.mixtures import REPLAY, TAIL
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.tfds_rows import ExampleSource
from slick_jax.errors import InputError, short

FIELDS = ("id", "prompt", "completion", "answer", "relation", "category", "ending", "role", "times")
MAX_EPOCH_ROWS = 100_000_000  # with every row as often as its `times` says
MAX_ENDINGS = 8  # different ones in a mixture; each is a further way to write every answer


@dataclasses.dataclass(frozen=True)
class MixtureRow:
    """One example to train on: `completion` is written behind `prompt`; `answer` is what counts as fitted.

    category: one of the four, or empty where the file has none; ending: what `completion` has behind `answer`, which
    counts neither for nor against it; role: TAIL (at the end of every epoch, in the order of the file), REPLAY (trained
    on, never asked; of plain text the prompt is empty) or ''; times: how often it comes in an epoch.
    """

    id: str
    prompt: str
    completion: str
    answer: str
    relation: str = ONE_RELATION
    category: str = ""
    ending: str = ""
    role: str = ""
    times: int = 1

    @property
    def content(self) -> list:
        """All that is said of the row, for a digest; what most rows do not have is left out there."""
        *texts, ending, role, times = dataclasses.astuple(self)
        return texts if (ending, role, times) == ("", "", 1) else [*texts, ending, role, times]


def endings(rows: Iterable[MixtureRow]) -> tuple[str, ...]:
    """The endings that a mixture teaches."""
    return tuple(sorted({row.ending for row in rows} - {""}))


def dealt(rows: Sequence[MixtureRow]) -> tuple[list[int], int]:
    """Which rows an epoch holds, by number, the tail last; and how many of these are the tail."""
    body = [place for place, row in enumerate(rows) for _ in range(row.times) if row.role != TAIL]
    tail = [place for place, row in enumerate(rows) for _ in range(row.times) if row.role == TAIL]
    return body + tail, len(tail)


def read_mixture(path: epath.PathLike) -> list[MixtureRow]:
    """Rows of a JSON lines (also `.gz`) or Parquet file with `prompt` and `completion`, or of split train of TFDS data.

    Optional: `id` (default <stem>.<row>), `relation`, `category`, `answer` (what counts as fitted; default: the
    completion without outer blanks and its ending), `ending`, `role` and `times` (see MixtureRow); a `weight` is
    not read. A TFDS folder (data/tfds_rows.py) holds questions: each is asked in the fine-tuning prompt, its
    first answer is taught. Raises one InputError that lists the bad rows; also where there is no file, or no row that
    is asked.
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
    problems, rows, taken = [], [], {}
    for index, found in rows_of(path, FIELDS):
        row = found if isinstance(found, str) else _row(found, f"{path.stem}.{index}")
        if isinstance(row, str):
            problems.append(f"{path}:{index + 1}: {row}")
        elif row.id in taken:
            problems.append(f"{path}:{index + 1}: id {row.id!r} is already used in line {taken[row.id]}")
        else:
            taken[row.id] = index + 1
            rows.append(row)
    raise_problems(problems)
    if not any(row.role != REPLAY for row in rows):
        raise InputError(f"{path}: the mixture is empty; there is nothing to train on")
    if sum(row.times for row in rows) > MAX_EPOCH_ROWS:
        raise InputError(f"{path}: `times` makes an epoch of more than {MAX_EPOCH_ROWS:,} rows; lower it")
    if len(endings(rows)) > MAX_ENDINGS:
        raise InputError(
            f"{path}: {len(endings(rows))} different endings, and {MAX_ENDINGS} at most can be told from answers; give"
            " `answer` alone where the text behind it is another for every row"
        )
    return rows


def _row(found: dict, default_id: str) -> MixtureRow | str:
    """The row, or what is wrong with it."""
    name, prompt, completion, answer, relation, category, ending, role, times = map(found.get, FIELDS)
    ending, role, times = "" if ending is None else ending, "" if role is None else role, 1 if times is None else times
    if role not in ("", TAIL, REPLAY):
        return f"role {short(role)} is unknown; allowed: {TAIL}, {REPLAY}, or leave it out"
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        return f"times must be a whole number from 1, found {short(times)}"
    if role == REPLAY:
        prompt, answer, relation, category, ending = None if prompt == "" else prompt, None, None, None, ""
    elif isinstance(completion, str) and answer in (None, ""):
        answer = completion.removesuffix(ending).strip() if isinstance(ending, str) else completion.strip()
    texts = [("prompt", prompt), ("completion", completion), ("answer", answer), ("relation", relation)]
    for field, text in texts:
        if text is None and (field == "completion" or (field == "prompt" and role != REPLAY)):
            return f"{field} is missing; a row to train on has prompt and completion"
        if text is not None and (problem := text_problem(field, text)):
            return problem
    if category not in (None, "", *CATEGORIES):
        return f"category {short(category)} is unknown; allowed: {', '.join(CATEGORIES)}, or leave it out"
    if problem := id_problem(name):
        return problem
    if not isinstance(ending, str) or "\n" in ending:
        return f"ending must be a text on one line, found {short(ending)}"
    if ending and completion.strip() != (answer.strip() + ending).strip():
        told = f"completion {short(completion)} is not the answer {short(answer)}"
        return f"{told} with the ending {short(ending)} behind it"
    return MixtureRow(
        id=default_id if name is None else str(name),
        prompt=prompt or "",
        completion=completion,
        answer=(answer or "").strip(),
        relation=relation or ONE_RELATION,
        category=category or "",
        ending=ending,
        role=role,
        times=times,
    )
