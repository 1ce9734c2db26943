"""The table of examples: what is known about each question, as CSV and packed into the page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from slick_jax.analysis import curves, tables
from slick_jax.analysis.runs import Study, TrainingRun
from slick_jax.categories import CATEGORIES
from slick_jax.epochs import STOPS

MOST = 100_000  # rows of the page and of tables/examples.csv; of more, these are drawn evenly by their ids
LONGEST = 400  # letters of a text on the page; the CSV has all of it
CHOICES = ("category", "split", "relation")
MOST_CHOICES = 300  # relations that can be chosen from
ANSWERS = "answers before (greedy)"
FITTED = "fitted from epoch"
_PERCENT = {"p_correct_greedy": "greedy right (%)", "p_correct_sampled": "samples right (%)",
            "p_correct_exact": "P(correct) (%)", "p_true": "P(True) (%)"}  # fmt: skip
Answer = tuple[str, int, bool | None]  # the text, how often it was given (0: not counted), and whether it is right


@dataclass(frozen=True)
class Packed:
    """The table as the page takes it."""

    packed: str  # base64 of gzip of JSON: columns and rows
    choices: dict[str, list[str]]  # values of the columns that rows can be chosen by
    shown: int
    total: int


def table(study: Study, samples: pd.DataFrame | None) -> pd.DataFrame:
    """A row per annotated question, at most MOST; columns by their heads on the page.

    Args:
      samples: id and greedy of `annotations.kept_answers`.

    Cells of gold and of the model's answers are lists of `Answer`; None where nothing is told.
    """
    asked = study.annotations
    if len(asked) > MOST:
        order = pd.util.hash_array(asked["id"].to_numpy(object))
        asked = asked.iloc[np.sort(np.argsort(order, kind="stable")[:MOST])]
    made = pd.DataFrame({"category": asked["category"], "question": asked.get("question", "")})
    if "answers" in asked:
        made["gold"] = [[(str(text), 0, None) for text in golds] for golds in asked["answers"]]
    if samples is not None:
        greedy = asked["id"].map(samples.set_index("id")["greedy"])
        hits = asked.get("greedy_hits", pd.Series([None] * len(asked), asked.index))
        made[ANSWERS] = [counted(texts, right) for texts, right in zip(greedy, hits, strict=True)]

    def told(name: str) -> bool:
        return name in asked and asked[name].notna().any()

    made = made.assign(**{head: 100 * asked[name] for name, head in _PERCENT.items() if told(name)})
    certainty = tables.label_certainty(asked)
    if certainty.notna().any():
        made["certainty (%)"] = 100 * certainty
    for head, values in _after(study, asked).items():
        made[head] = values
    return made.assign(split=asked["split"], relation=asked["relation"], id=asked["id"]).reset_index(drop=True)


def counted(texts: Sequence[str] | None, hits: Sequence[bool] | None) -> list[Answer] | None:
    """The different answers behind the exemplar sets, the most frequent first; None where none were kept."""
    if texts is None or isinstance(texts, float):
        return None
    told = hits if hits is not None and len(hits) == len(texts) else [None] * len(texts)
    found: dict[tuple[str, bool | None], int] = {}
    for text, hit in zip(texts, told, strict=True):
        key = str(text).strip(), None if hit is None else bool(hit)
        found[key] = found.get(key, 0) + 1
    ranked = sorted(found.items(), key=lambda one: -one[1])
    return [(text, times, right) for (text, right), times in ranked]


def as_text(made: pd.DataFrame) -> pd.DataFrame:
    """The table for a CSV: lists of answers as text."""

    def text(cell: Any) -> Any:
        if not isinstance(cell, list):
            return cell
        marks = {True: "right", False: "wrong", None: ""}
        notes = [", ".join(filter(None, (f"{times}x" if times else "", marks[right]))) for _, times, right in cell]
        return "; ".join(f"{one[0]} ({note})" if note else one[0] for one, note in zip(cell, notes, strict=True))

    found = made.copy()
    for name in found.select_dtypes(exclude="number"):
        found[name] = found[name].map(text)
    return found.round(2)


def pack(made: pd.DataFrame, total: int) -> Packed:
    """The table as one text; equal tables are equal texts."""
    columns, cells = [], []
    for name in made:
        kind = _kind(made[name])
        column = {"head": name, "kind": kind}
        if kind == "number":
            column["digits"] = 0 if name == FITTED else 1
            cells.append([None if pd.isna(value) else round(float(value), 2) for value in made[name]])
        elif kind == "answers":
            cells.append([None if value is None else [_row(one) for one in value] for value in made[name]])
        else:
            cells.append([_cut(value) for value in made[name]])
        if kind == "category":
            column["order"] = list(CATEGORIES)
        columns.append(column | ({"wordy": True} if name == "question" or kind == "answers" else {}))
    text = json.dumps({"columns": columns, "rows": list(zip(*cells, strict=True))}, ensure_ascii=False, allow_nan=False)
    packed = gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0)
    known = [name for name in CATEGORIES if name in set(made["category"])]
    values = {name: known if name == "category" else sorted({_cut(one) for one in made[name]}) for name in CHOICES}
    choices = {name: of for name, of in values.items() if 1 < len(of) <= MOST_CHOICES}
    return Packed(base64.b64encode(packed).decode("ascii"), choices, len(made), total)


def _after(study: Study, asked: pd.DataFrame) -> dict[str, list]:
    """What one fine-tuned model answers to the questions, and when it had learned the rows it was trained on."""
    runs = curves.followed(study)
    if not runs:
        return {}
    run, found = runs[0], {}
    if run.answers is not None:
        told = {
            (row.split, row.id, row.stop): [(str(row.answer), 0, bool(row.hit))] for row in run.answers.itertuples()
        }
        for stop in STOPS:
            cells = [told.get((*key, stop)) for key in zip(asked["split"], asked["id"], strict=True)]
            if any(cells):
                found[f"after {run.variant}, {stop}"] = cells
    if not run.examples.empty and (fitted := _fitted(run, asked)).notna().any():
        found[FITTED] = fitted
    return found


def _fitted(run: TrainingRun, asked: pd.DataFrame) -> pd.Series:
    """The first evaluated epoch after which a training example was answered right; NaN for others and for never."""
    rows = run.examples[run.examples["fitted"]]
    first = rows.groupby("id", observed=True)["epoch"].min()
    return asked["id"].map(dict(first.items())).astype(float)


def _kind(values: pd.Series) -> str:
    if values.name == "category":
        return "category"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    return "answers" if values.map(lambda one: isinstance(one, list)).any() else "text"


def _row(answer: Answer) -> list:
    return [_cut(answer[0]), *answer[1:]]


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
