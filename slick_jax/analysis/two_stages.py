"""What `slick gradual` found, where the run has it: both stages side by side, over the seeds that are finished."""

from __future__ import annotations

import io

import pandas as pd
from etils import epath

from slick_jax.categories import CATEGORIES
from slick_jax.files import run_folder

COLUMNS = ("variant", "stop", "epoch", "split", "questions", "accuracy", *CATEGORIES)
TITLE = "Fine-tuning in two stages (slick gradual)"
TEXT = (
    "The first stage, all_MaybeKnown, trains on MaybeKnown examples; the second, gradual, goes on from its EARLY_STOP"
    " with the examples that have become MaybeKnown and a replay of HighlyKnown ones (docs/study.md). Accuracy (%) on"
    " all questions of a split and on those of each category before both stages; with several seeds their mean and, in"
    " brackets, their range. Numbers of each seed: tables/gradual.csv."
)


def read(folder: epath.Path) -> pd.DataFrame:
    """The rows of gradual/seed-<n>/summary.csv with their seed; empty where there are none."""
    found = []
    for path in sorted(folder.glob("gradual/seed-*/summary.csv")):
        with run_folder.explained(path, "run `slick gradual` again"):
            table = pd.read_csv(io.StringIO(path.read_text()))[[*COLUMNS]]
            found.append(table.assign(seed=int(path.parent.name.removeprefix("seed-"))))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[*COLUMNS, "seed"])


def as_printed(table: pd.DataFrame) -> pd.DataFrame:
    """A row per split, stopping point and stage."""
    rows = []
    for (split, stop, variant), of in table.groupby(["split", "stop", "variant"], sort=False):
        row = {"split": split, "stop": stop, "stage": variant, "seeds": len(of), "questions": of["questions"].iloc[0]}
        rows.append(row | {name: _spread(of[name]) for name in ("accuracy", *CATEGORIES)})
    return pd.DataFrame(rows)


def _spread(values: pd.Series) -> str:
    values = values.dropna()
    if values.empty:
        return "–"
    low, high = f"{values.min():.1f}", f"{values.max():.1f}"
    return low if low == high else f"{values.mean():.1f} [{low}, {high}]"
