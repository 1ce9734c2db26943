"""A mixture as it is trained on: rows of prompt and completion, read from a file or a TFDS data set, and checked."""

from __future__ import annotations

import dataclasses

import grain
from etils import epath

from slick_jax.categories import CATEGORIES
from slick_jax.data.examples import ONE_RELATION, raise_problems, rows_of, text_problem
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.data.tfds_rows import ExampleSource
from slick_jax.errors import InputError

FIELDS = ("id", "prompt", "completion", "answer", "relation", "category")


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


def read_mixture(path: epath.PathLike) -> list[MixtureRow]:
    """Rows of a JSON lines (also `.gz`) or Parquet file with `prompt` and `completion`, or of split train of TFDS data.

    Optional: `id` (default <stem>.<row>), `relation`, `category`, `answer` (what counts as fitted; default: the
    completion without outer blanks). A TFDS folder (data/tfds_rows.py) holds questions: each is asked in the
    fine-tuning prompt, its first answer is taught. Raises one InputError that lists the bad rows; also where there is
    no file, or no row.
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
    if not rows:
        raise InputError(f"{path}: the mixture is empty; there is nothing to train on")
    return rows


def _row(found: dict, default_id: str) -> MixtureRow | str:
    """The row, or what is wrong with it."""
    name, prompt, completion, answer, relation, category = map(found.get, FIELDS)
    answer = answer if answer or not isinstance(completion, str) else completion.strip()
    texts = [("prompt", prompt), ("completion", completion), ("answer", answer), ("relation", relation)]
    for field, text in texts:
        if text is None and field in ("prompt", "completion"):
            return f"{field} is missing; a row to train on has prompt and completion"
        if text is not None and (problem := text_problem(field, text)):
            return problem
    if category and category not in CATEGORIES:
        return f"category {category!r} is unknown; allowed: {', '.join(CATEGORIES)}, or leave it out"
    if isinstance(name, bool) or not isinstance(name, str | int | None):
        return f"id must be a text or a whole number, found {name!r}"
    return MixtureRow(
        id=default_id if name is None else str(name),
        prompt=prompt,
        completion=completion,
        answer=answer.strip(),
        relation=relation or ONE_RELATION,
        category=category or "",
    )
