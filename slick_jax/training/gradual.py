"""`slick gradual`: fine-tuning in two stages (Li et al., 2410.05802), from what is nearly known to what became so.

The first stage trains on MaybeKnown examples up to the best epoch on dev. Its model is annotated again; the second
stage goes on from it with the examples that have become MaybeKnown and a replay of HighlyKnown ones.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from etils import epath

from slick_jax.categories import CATEGORIES
from slick_jax.config import Config, ExportConfig, MixConfig
from slick_jax.data import annotations, mix
from slick_jax.data.examples import load_splits
from slick_jax.data.mixtures import Annotated, place
from slick_jax.epochs import STOPS
from slick_jax.errors import InputError
from slick_jax.files import csv_text, run_folder
from slick_jax.files.claim import held
from slick_jax.files.hashing import digest
from slick_jax.knowledge import annotate
from slick_jax.training import export, shift, train
from slick_jax.training.stops import ANSWERS

FIRST, SECOND = "all_MaybeKnown", "gradual"  # the variants of the two stages
LOWER = ("WeaklyKnown", "Unknown")  # from which an example is promoted to MaybeKnown


def run(config: Config) -> epath.Path:
    """Do what is left of the two stages for `config.train.seed`; returns the folder of the second stage.

    The first is the run of the mixture all_MaybeKnown, as `slick study` makes it. The second has the run folder
    <run_dir>/gradual/seed-<n> of its own: model/ (the first stage's at EARLY_STOP), its annotations, mixtures/gradual
    and train/gradual; summary.csv tells the accuracies of both. Killed at any moment, it goes on from there with the
    same result. Raises InputError for bad input and when nothing was promoted, Busy when another process is at it.
    """
    mixed = run_folder.read_object(epath.Path(config.run_dir) / "mixtures" / "manifest.json")
    if FIRST not in (mixed or {}).get("variants", {}):
        names = (*config.mix.recipes, FIRST)
        mix.run(dataclasses.replace(config, mix=dataclasses.replace(config.mix, recipes=names)))
    first = train.run(_for(config, FIRST))
    tuned = shift.checkpoint_at(config, first, "EARLY_STOP")
    origin = {"run": digest(run_folder.read_object(first / "train.json")), "step": tuned.name}
    folder = epath.Path(config.run_dir) / "gradual" / f"seed-{config.train.seed}"
    own = _second(config, folder)
    with held(folder):
        if not (folder / "model" / "config.json").exists():  # written last
            run_folder.write_json(folder / "first.json", origin)
            export.run(dataclasses.replace(config, export=ExportConfig(str(tuned), own.model.path)))
        elif run_folder.read_object(folder / "first.json") != origin:
            raise InputError(f"{folder}: holds the model of another first stage; remove that folder and run again")
        if not annotations.path(own).exists():
            annotate.annotate(own)
        _mix(config, own)
    second = train.run(own)
    table = accuracies({FIRST: first, SECOND: second}, annotations.categories(config)[0])
    run_folder.write_text(folder / "summary.csv", csv_text.of(table))
    print(table.round(1).to_string(index=False, na_rep="-"))
    print(f"gradual: {folder / 'summary.csv'}")
    return folder


def promoted(before: Sequence[Annotated], after: Sequence[Annotated], settings: MixConfig) -> list[Annotated]:
    """What the second stage trains on, with the categories of `after`, sorted by relation and id.

    Those are the examples that have become MaybeKnown from below, and for each of them `settings.gradual_replay` of
    those that are HighlyKnown after the first stage, drawn uniformly. Rows are matched by id.
    """
    was = {row.id: row.category for row in before}
    risen = [row for row in after if row.category == "MaybeKnown" and was.get(row.id) in LOWER]
    highly = sorted(
        (row for row in after if row.category == "HighlyKnown" and row.id in was),
        key=lambda row: (place(row, settings.seed), row.id),
    )
    chosen = risen + highly[: round(settings.gradual_replay * len(risen))]
    return sorted(chosen, key=lambda row: (row.relation, row.id))


def accuracies(runs: dict[str, epath.Path], categories: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """variant, stop, epoch, split, questions, accuracy (%), and that on the questions of each category that the model
    had before both stages; a row per stage, stopping point and split."""
    rows = []
    for variant, folder in runs.items():
        table = run_folder.read_parquet(folder / ANSWERS).to_pandas()
        table["category"] = [categories.get(name, ("", ""))[1] for name in table["id"]]
        for (stop, split), of in table.groupby(["stop", "split"], sort=False):
            by = (100 * of.groupby("category")["hit"].mean()).to_dict()
            line = {"variant": variant, "stop": stop, "epoch": int(of["epoch"].iloc[0]), "split": split}
            line |= {"questions": len(of), "accuracy": 100 * of["hit"].mean()}
            rows.append(line | {category: by.get(category, float("nan")) for category in CATEGORIES})
    order = {stop: number for number, stop in enumerate(STOPS)}
    return pd.DataFrame(rows).sort_values(["stop", "split"], key=lambda of: of.map(order).fillna(0), kind="stable")


def _mix(config: Config, own: Config) -> None:
    """mixtures/gradual of the second stage, from the annotations before and after the first."""
    before, after = annotations.read(config), annotations.read(own)
    splits = load_splits(config.data)
    annotations.check_data(after, splits, config.mix.split)
    kept, excluded = mix.without_held_out(after.rows, mix.held_out(before, splits, config.mix.split))
    rows = promoted(before.rows, kept, config.mix)
    counts = Counter(row.category for row in rows)
    if not counts["MaybeKnown"]:
        raise InputError(
            f"gradual: none of the {len(kept)} examples has become MaybeKnown by the first stage, so there is nothing"
            " to train the second one on; train the first longer (train.epochs, train.peak_lr)"
        )
    manifest = {
        "seed": config.mix.seed,
        "split": config.mix.split,
        "rule": config.mix.rule,
        "n": len(rows),
        "replay": config.mix.gradual_replay,
        "annotated": len(after.rows),
        "excluded": excluded,
        "protocol": after.protocol,
        "model": after.model,
        "variants": {SECOND: mix.record(rows)},
    }
    folder = epath.Path(own.run_dir) / "mixtures"
    earlier = run_folder.read_object(folder / "manifest.json")
    if earlier is not None and earlier != manifest:
        changed = ", ".join(name for name in manifest if earlier.get(name) != manifest[name])
        raise InputError(
            f"{folder}: holds another mixture (different: {changed}); set another run_dir, or remove {own.run_dir}"
        )
    mix.write(folder, manifest, {SECOND: rows})
    print(f"gradual: {counts['MaybeKnown']} promoted to MaybeKnown, {counts['HighlyKnown']} HighlyKnown replayed")


def _second(config: Config, folder: epath.Path) -> Config:
    """The config of the second stage: another run folder, another model, the split that is mixed from alone."""
    return dataclasses.replace(
        _for(config, SECOND),
        run_dir=str(folder),
        data=dataclasses.replace(config.data, splits=(config.mix.split,)),
        model=dataclasses.replace(config.model, path=str(Path(folder) / "model"), source=""),
    )


def _for(config: Config, variant: str) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, variant=variant, mixture=""))
