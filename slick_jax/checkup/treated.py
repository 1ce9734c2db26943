"""The rows made ready for training, each treatment as JSON lines and Parquet that `datasets.load_dataset` reads."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax.categories import UNKNOWN
from slick_jax.checkup.diagnosis import Diagnosis
from slick_jax.config import Config
from slick_jax.data.prompt_styles import fine_tuning_prompt
from slick_jax.files import run_folder

MAYBE = "MaybeKnown"
SCHEMA = {
    "id": pa.string(), "relation": pa.string(), "question": pa.string(), "answers": pa.list_(pa.string()),
    "category": pa.string(), "p_correct_greedy": pa.float64(), "p_correct_sampled": pa.float64(),
    "certainty": pa.float64(), "exemplar": pa.bool_(), "answer": pa.string(), "prompt": pa.string(),
    "completion": pa.string(), "messages": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
}  # fmt: skip
WEIGHT = {"weight": pa.float64()}
READ = ("id", "question", "answer", "answers", "relation")  # fields of the user's rows that SCHEMA has
TAKEN = (*SCHEMA, *WEIGHT, "ending", "role", "times")  # the last three mean something to `slick train`


@dataclasses.dataclass(frozen=True)
class Treatment:
    """A data set: its rows, further columns of ours, and what is said of it."""

    rows: Sequence[Mapping[str, Any]]
    told: str
    further: Mapping[str, pa.DataType] = dataclasses.field(default_factory=dict)


def treatments(found: Diagnosis, config: Config) -> dict[str, Treatment]:
    """Every data set by file name; rows stand in the order of the file, with the user's own columns behind ours."""
    own = own_columns([found.intake.given[name] for name in found.rows["id"]])
    rows = [_row(row) | more for row, more in zip(found.rows.to_dict("records"), own, strict=True)]
    known = [row for row in rows if row["category"] != UNKNOWN]
    dropped = [row for row in rows if row["category"] == UNKNOWN]
    weight = config.doctor.maybe_weight
    weighted = [row | {"weight": weight if row["category"] == MAYBE else 1.0} for row in known]
    text = config.mix.idk_text
    idk = [_taught(row, text) if row["category"] == UNKNOWN else row for row in rows]
    drawn = resampled(weighted, config.doctor.seed)
    drawn = [{name: value for name, value in row.items() if name not in WEIGHT} for row in drawn]
    return {
        "all": Treatment(rows, "every row that was asked, with its category"),
        "without_unknown": Treatment(known, "without the Unknown rows"),
        "dropped": Treatment(dropped, "the Unknown rows alone: what without_unknown leaves out"),
        "maybe_weighted": Treatment(weighted, f"without Unknown; weight {weight:g} for MaybeKnown, else 1", WEIGHT),
        "maybe_resampled": Treatment(drawn, "the same drawn by weight, for trainers without weights, as slick train"),
        "idk": Treatment(idk, f"every row; Unknown ones are answered {text!r}"),
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    sampled = row["p_correct_sampled"]
    kept = {
        "id": row["id"], "relation": row["relation"], "question": row["question"], "answers": list(row["answers"]),
        "category": row["category"], "p_correct_greedy": float(row["p_correct_greedy"]),
        "p_correct_sampled": None if pd.isna(sampled) else float(sampled),
        "certainty": None if pd.isna(row["certainty"]) else float(row["certainty"]), "exemplar": bool(row["exemplar"]),
    }  # fmt: skip
    return _taught(kept, row["answers"][0])


def _taught(row: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """The row as one to train on: prompt and completion, and the same as a chat."""
    turns = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": answer}]
    return {
        **row, "answer": answer, "prompt": fine_tuning_prompt(row["question"]), "completion": answer, "messages": turns,
    }  # fmt: skip


def resampled(rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """As many rows as given, each about as often as its weight asks for (systematic sampling of a seeded order).

    The second copy of a row has the id `<id>#2`, and so on.
    """
    if not rows:
        return []
    weights = np.array([row["weight"] for row in rows])
    generator = np.random.default_rng([seed, len(rows)])
    order, start = generator.permutation(len(rows)), generator.random()
    ends = np.floor(np.cumsum(len(rows) * weights[order] / weights.sum()) + start).astype(int)
    times = np.zeros(len(rows), int)
    times[order] = np.diff(ends, prepend=int(start))
    return [
        dict(row) | {"id": row["id"] if copy == 1 else f"{row['id']}#{copy}"}
        for row, n in zip(rows, times, strict=True)
        for copy in range(1, n + 1)
    ]


def own_columns(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The columns of the user's rows that are none of ours, one kind of value each, as loaders of tables need it.

    Texts, numbers, truth values and lists of texts stay as they are; a column of anything else becomes JSON text. A
    name that is ours or means something to `slick train` gets `source_` in front.
    """
    names = list(dict.fromkeys(name for row in given for name in row if name not in READ))
    columns = {}
    for name in names:
        called = f"source_{name}" if name in TAKEN else name
        while called in columns:
            called += "_"
        columns[_text(called)] = _one_kind([row.get(name) for row in given])
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] if columns else [
        {} for _ in given
    ]  # fmt: skip


def _one_kind(values: Sequence[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return [value and _text(value) for value in values]
    if kinds == {bool} or (kinds == {int} and all(value is None or abs(value) < 2**63 for value in values)):
        return list(values)
    if kinds in ({float}, {int, float}) and all(value is None or math.isfinite(value) for value in values):
        return [None if value is None else float(value) for value in values]
    if kinds == {list} and all(isinstance(one, str) for value in values if value for one in value):
        return [None if value is None else [_text(one) for one in value] for value in values]
    return [None if value is None else json.dumps(value, default=str) for value in values]


def _text(value: str) -> str:
    """The text without halves of surrogate pairs, which no file of UTF-8 can hold."""
    return value.encode("utf-8", "replace").decode()


def write(folder: epath.Path, made: Mapping[str, Treatment]) -> None:
    """<folder>/<name>.jsonl and .parquet of every data set. An empty one, which no loader reads, has no files."""
    for name, one in made.items():
        if not one.rows:
            for ending in ("jsonl", "parquet"):
                (folder / f"{name}.{ending}").unlink(missing_ok=True)
            continue
        schema = SCHEMA | dict(one.further)
        ours, own = list(schema), [key for key in one.rows[0] if key not in schema]
        lines = [{key: row[key] for key in (*ours, *own)} for row in one.rows]
        run_folder.write_text(
            folder / f"{name}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        )
        arrays = [pa.array([line[key] for line in lines], schema.get(key)) for key in (*ours, *own)]
        run_folder.write_parquet(folder / f"{name}.parquet", pa.table(arrays, names=[*ours, *own]))
