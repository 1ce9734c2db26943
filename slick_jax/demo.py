"""`slick demo`: the whole way. Pretrain a small model on told facts, annotate them, fine-tune on mixtures, report."""

from __future__ import annotations

import dataclasses

import pandas as pd
from etils import epath

from slick_jax.categories import CATEGORIES
from slick_jax.config import Config
from slick_jax.data import mix
from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.knowledge import annotate
from slick_jax.training import pretrain, study

LEAST_SHARE = 0.05  # of the train rows, for every category: less would not show what the categories mean
EXPOSURE_BINS = (0, 1, 5, 10, 20, 40, 80, 1 << 30)  # times a fact is told in the corpus; left edges


def run(config: Config) -> None:
    """Pretrain, annotate, mix, fine-tune and report. Raises InputError when a category is nearly empty."""
    model = pretrain.run(config)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, path=str(model)))
    table = annotate.run(config)
    told = run_folder.read_object(epath.Path(config.run_dir) / "exposures.json")
    print("\nshare of each category (%) by how often the corpus tells the fact:")
    print(by_exposures(table, told).to_string())
    train = table.loc[table["split"] == "train", "category"].value_counts(normalize=True)
    thin = [name for name in CATEGORIES if train.get(name, 0.0) < LEAST_SHARE]
    if thin:
        raise InputError(
            f"demo: {', '.join(thin)} hold less than {LEAST_SHARE:.0%} of the train rows; this world or this training"
            " is too easy or too hard, see data.corpus.median_exposures and data.corpus.row_tokens"
        )
    mix.run(config)
    study.run(config)


def by_exposures(table: pd.DataFrame, told: dict[str, int]) -> pd.DataFrame:
    """Category shares in percent, by number of exposures in pretraining: the best check of the whole pipeline."""
    edges = pd.Index(EXPOSURE_BINS)
    label = {
        low: str(low) if high == low + 1 else f"{low}-{high - 1}" if high < EXPOSURE_BINS[-1] else f"{low}+"
        for low, high in zip(EXPOSURE_BINS, EXPOSURE_BINS[1:], strict=False)
    }
    counts = table["id"].map(told)
    bins = counts.map(lambda n: EXPOSURE_BINS[edges.searchsorted(n, side="right") - 1])
    shares = pd.crosstab(bins, table["category"], normalize="index").reindex(columns=list(CATEGORIES)) * 100
    shares.insert(0, "facts", bins.value_counts().sort_index())
    shares.index = pd.Index([label[low] for low in shares.index], name="told")
    return shares.round(1)
