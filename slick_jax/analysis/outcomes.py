"""Who was right about which question at the stopping points, and what a tuned model knows when annotated again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath

from slick_jax.epochs import STOPS
from slick_jax.errors import InputError
from slick_jax.files import run_folder

COLUMNS = ("stop", "split", "id", "relation", "category", "hit", "abstained", "answer")
Cell = tuple[str, int, str]  # variant, seed, stop


@dataclass(frozen=True)
class Outcomes:
    """Of the N questions of a split, in one order for all runs: right or not, and answered or refused."""

    split: str
    questions: pd.DataFrame  # N rows: id, relation, category
    hits: Mapping[Cell, np.ndarray]  # bool [N]
    answered: Mapping[Cell, np.ndarray]  # bool [N]; not answered: the answer is one of annotate.abstain_phrases

    def seeds(self, *variants: str, stops: Iterable[str] = STOPS) -> tuple[int, ...]:
        """The seeds with which every one of these variants was asked at all of `stops`."""
        every = [{seed for name, seed, at in self.hits if (name, at) == (v, s)} for v in variants for s in stops]
        return tuple(sorted(set.intersection(*every))) if every else ()

    def of(self, variant: str, stop: str, seeds: Iterable[int]) -> np.ndarray:
        """Hits, bool [S N]."""
        return np.stack([self.hits[variant, seed, stop] for seed in seeds])

    def answered_of(self, variant: str, stop: str, seeds: Iterable[int]) -> np.ndarray:
        """Answered and not refused, bool [S N]."""
        return np.stack([self.answered[variant, seed, stop] for seed in seeds])

    def mask(self, category: str | None) -> np.ndarray:
        """Which questions are of `category`, bool [N]; None: all."""
        of = self.questions["category"].to_numpy()
        return np.ones(len(of), bool) if category is None else of == category


def collect(answers: Mapping[tuple[str, int], pd.DataFrame], split: str) -> Outcomes | None:
    """The outcomes of all runs on `split`; None where no run was asked it.

    Args:
      answers: answers.parquet by (variant, seed).

    Raises InputError where runs were asked different questions.
    """
    hits, answered, first = {}, {}, None
    for (variant, seed), table in answers.items():
        for stop, rows in table[table["split"] == split].groupby("stop", observed=True):
            rows = rows.sort_values("id", ignore_index=True)
            if first is None:
                first = rows[["id", "relation", "category"]]
            elif not rows["id"].equals(first["id"]):
                raise InputError(
                    f"{variant}, seed {seed}: answers.parquet holds other {split} questions at {stop} than the other"
                    " runs; train again with the data of the study"
                )
            hits[variant, seed, str(stop)] = rows["hit"].to_numpy(bool)
            answered[variant, seed, str(stop)] = ~rows["abstained"].to_numpy(bool)
    return None if first is None else Outcomes(split, first, hits, answered)


def read_answers(path: epath.Path) -> pd.DataFrame | None:
    """answers.parquet of a run, a row per question and stopping point; None where there is none.

    Raises InputError on a damaged file, a missing column, and a question that stands there twice.
    """
    if not path.exists():
        return None
    table = run_folder.read_parquet(path)
    absent = [name for name in COLUMNS if name not in table.column_names]
    if absent:
        raise InputError(f"{path}: no column {', '.join(absent)}; remove the run's folder and train again")
    told = [name for name in ("ending",) if name in table.column_names]
    found = table.select([*COLUMNS, *told]).to_pandas()
    if found.duplicated(["stop", "split", "id"]).any():
        raise InputError(f"{path}: a question stands there twice at one stop; remove the run's folder and train again")
    text = ["answer", "category"]
    found[text] = found[text].astype(object).where(found[text].notna(), "")
    return found.astype(dict.fromkeys(("stop", "split", "relation", "category"), "category"))


def read_shifts(place: epath.Path, rule: str) -> dict[str, pd.DataFrame]:
    """By stop, what the tuned model of a run knows: id, split, relation, category, and abstained_greedy where told."""
    found = {}
    for stop in STOPS:
        path = place / f"shift-{stop}" / "annotations.parquet"
        if not path.exists():
            continue
        table = run_folder.read_parquet(path)
        absent = [name for name in ("id", "split", "relation", f"{rule}category") if name not in table.column_names]
        if absent:
            raise InputError(f"{path}: no column {', '.join(absent)}; annotate the tuned model again")
        columns = ["id", "split", "relation", f"{rule}category"]
        told = [name for name in ("abstained_greedy",) if name in table.column_names]
        found[stop] = table.select(columns + told).to_pandas().rename(columns={f"{rule}category": "category"})
    return found
