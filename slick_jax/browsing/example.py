"""Everything that a run folder holds about one example: read from the files of its rooms, as plain values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.compute as pc
from etils import epath

from slick_jax.browsing.folders import names_in, training_runs
from slick_jax.data.annotations import read_table
from slick_jax.errors import InputError
from slick_jax.files import run_folder

Row = dict[str, Any]


def annotation(run_dir: epath.Path, name: str) -> Row:
    """The example's row of annotations.parquet. Raises InputError with the nearest ids where it has none."""
    table = read_table(run_dir)
    found = table.filter(pc.equal(table["id"], name)).to_pylist()
    if not found:
        ids = table["id"].to_pylist()
        close = difflib.get_close_matches(name, _likely(name, ids), 3, 0.0)
        raise InputError(
            f"{run_dir}: no example {name!r} among its {len(ids):,}; the nearest ids are {', '.join(close) or 'none'}"
        )
    return found[0]


def _likely(name: str, ids: Sequence[str]) -> list[str]:
    """A few hundred ids among which the nearest is looked for: those that begin or end like the name come first."""
    head, tail = name[:3].lower(), name.rpartition(".")[2].lower()
    alike = [one for one in ids if one.lower().startswith(head) or one.lower().rpartition(".")[2] == tail]
    return (alike or list(ids))[:2000]


def exemplar_sets(run_dir: epath.Path, row: Row) -> list[list[Row]]:
    """The exemplars (id, question, answer) of each slot, as far as exemplars.json has them."""
    pool = (run_folder.read_object(run_dir / "exemplars.json") or {}).get(row["relation"], {})
    if row.get("exemplar_rows"):
        return [[one for index in slot for one in pool.get(str(index), ())] for slot in row["exemplar_rows"]]
    return [pool.get(str(number), []) for number in row.get("exemplar_sets") or ()]


def kept_answers(run_dir: epath.Path, name: str) -> Row | None:
    """The example's row of samples/part-*.parquet; None where its answers were not kept."""
    for part in sorted(one for one in names_in(run_dir / "samples") if one.startswith("part-")):
        if found := rows_of(run_dir / "samples" / part, name):
            return found[0]
    return None


def mixtures(run_dir: epath.Path, name: str) -> Iterator[tuple[str, Row]]:
    """(variant, the example's row) of every mixture that holds it."""
    for file in sorted(one for one in names_in(run_dir / "mixtures") if one.endswith(".parquet")):
        for row in rows_of(run_dir / "mixtures" / file, name, ("id", "category", "completion", "role", "times")):
            yield file.removesuffix(".parquet"), row


def training(run_dir: epath.Path, name: str) -> Iterator[tuple[str, list[Row], list[Row], dict[str, str]]]:
    """Of every training run that asked the example: its name; rows of fit.parquet by epoch; rows of answers.parquet;
    and its category in the models that were annotated again, by stopping point."""
    stages = [run_dir, *(run_dir / "gradual" / seed for seed in sorted(names_in(run_dir / "gradual")))]
    for run in (run for place in stages for run in training_runs(place)):
        fit = sorted(rows_of(run / "fit.parquet", name, ("id", "epoch", "fitted")), key=lambda row: row["epoch"])
        answers = rows_of(run / "answers.parquet", name)
        shifted = {
            stop[6:]: row["category"]
            for stop in sorted(one for one in names_in(run) if one.startswith("shift-"))
            for row in rows_of(run / stop / "annotations.parquet", name, ("id", "category"))
        }
        if fit or answers or shifted:
            yield f"{run.parent.name}, {run.name.replace('-', ' ')}", fit, answers, shifted


def evaluations(run_dir: epath.Path, name: str) -> Iterator[tuple[str, Row]]:
    """(name of the evaluation, the example's row) of every one that asked it."""
    for file in sorted(one for one in names_in(run_dir / "evaluations") if one.endswith(".parquet")):
        for row in rows_of(run_dir / "evaluations" / file, name):
            yield file.removesuffix(".parquet"), row


def rows_of(file: epath.Path, name: str, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows of an example in a Parquet file, those of `columns`; none where there is no such file."""
    if not file.exists():
        return []
    table = run_folder.read_parquet(file) if columns is None else run_folder.read_columns(file, columns)
    return table.filter(pc.equal(table["id"], name)).to_pylist()
