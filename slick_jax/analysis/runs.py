"""The finished runs of a study, read from its run folder, and the names of those that are missing."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
from etils import epath

from slick_jax.analysis import annotated, comparable
from slick_jax.analysis.outcomes import read_answers, read_shifts
from slick_jax.categories import CATEGORIES, GROUPS
from slick_jax.epochs import STOPS
from slick_jax.errors import InputError, short
from slick_jax.files import run_folder

WHOLE = "all"  # stands in the category column for a whole split
NOT_ANNOTATED = ""  # category of the rows of a user's own mixture
TESTS = ("test", "ood_test")
_D = re.compile(r"unknown_(\d+)")
_D_KNOWN = re.compile(r"known_only_(\d+)")


@dataclass(frozen=True)
class TrainingRun:
    """One finished fine-tuning: a variant of the mixture with one seed."""

    variant: str
    seed: int
    size: int  # |D|, training examples
    early_stop: int | None  # epoch with the best dev accuracy; None where dev was never evaluated
    convergence: int  # last epoch
    accuracy: pd.DataFrame  # epoch, split, category ('all': the whole split), em (share, 0 to 1), n
    fitted: pd.DataFrame  # epoch, category, fitted (training examples answered right), n
    examples: pd.DataFrame = field(default_factory=pd.DataFrame)  # id, category, epoch, fitted: of every example
    answers: pd.DataFrame | None = None  # of `outcomes.read_answers`; None where the run wrote none
    shifted: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # of `outcomes.read_shifts`
    golds: pd.DataFrame | None = None  # relation and answer of every example of the mixture: what was taught

    @property
    def percent(self) -> int | None:
        """X of unknown_<X>, the variants that mix Known and Unknown at a fixed |D|; None for any other variant."""
        return _percent(_D, self.variant)

    @property
    def known_only_percent(self) -> int | None:
        """X of known_only_<X> (D_Known: D(X %) without its Unknown examples); None for any other variant."""
        return _percent(_D_KNOWN, self.variant)

    def epoch_of(self, stop: str) -> int | None:
        """The epoch of 'EARLY_STOP' or 'CONVERGENCE'; None where dev was never evaluated."""
        return {"EARLY_STOP": self.early_stop, "CONVERGENCE": self.convergence}[stop]

    def accuracy_at(self, epoch: int | None, split: str, category: str = WHOLE) -> float:
        """Accuracy in percent after `epoch`; NaN where the split was not evaluated at that epoch."""
        return self._accuracy.get((epoch, split, category), float("nan"))

    @cached_property
    def _accuracy(self) -> dict[tuple[int, str, str], float]:
        """What `accuracy_at` gives."""
        rows = self.accuracy.iloc[::-1][["epoch", "split", "category", "em"]]  # the first of equal ones counts
        return {tuple(place): float(em) * 100 for *place, em in rows.itertuples(index=False)}

    def fitted_at(self, epoch: int | None) -> pd.DataFrame:
        """Rows Known and Unknown, columns fitted and n: training examples after `epoch`. Empty where not evaluated."""
        return self._fitted.get(epoch, pd.DataFrame(columns=["fitted", "n"]))

    @cached_property
    def _fitted(self) -> dict[int, pd.DataFrame]:
        """What `fitted_at` gives, by epoch."""
        summed = self.fitted.groupby(["epoch", known_or_unknown(self.fitted["category"])])[["fitted", "n"]].sum()
        return {epoch: rows.droplevel("epoch") for epoch, rows in summed.groupby(level="epoch")}


@dataclass(frozen=True)
class Study:
    """What a run folder holds of the study."""

    manifest: dict[str, Any]  # of the mixtures; empty when there is none
    annotations: pd.DataFrame | None  # of `annotated.read`
    runs: tuple[TrainingRun, ...]  # finished ones of equal settings, by variant in the manifest's order, then by seed
    missing: tuple[str, ...]  # a sentence for everything expected and not there, or left out
    others: tuple[tuple[TrainingRun, str], ...] = ()  # finished ones of other settings, and what these differ in
    saturation: pd.DataFrame | None = None  # category shares (%) by n_exemplar_sets and n_samples

    @property
    def mixtures(self) -> list[TrainingRun]:
        """The finished runs of the unknown_<X> variants, by X, then by seed."""
        return sorted((run for run in self.runs if run.percent is not None), key=lambda run: (run.percent, run.seed))


def known_or_unknown(category: pd.Series) -> pd.Series:
    """'Unknown' for that category, 'Known' for the three others; NaN for rows that were never annotated."""
    return category.map({name: group for group, names in GROUPS.items() for name in names}).rename("group")


def variant_names(manifest: dict[str, Any]) -> list[str]:
    """The variants that were mixed, in the order of the manifest."""
    found = manifest.get("variants", {})
    if not isinstance(found, dict) or not all(found):
        raise InputError(f"mixtures/manifest.json: variants is {short(found)}, not by name; run `slick mix` again")
    return list(found)


def read_study(
    folder: epath.PathLike, variants: Sequence[str] = (), seeds: Sequence[int] = (0,), rule: str = ""
) -> Study:
    """Read everything that is finished below `folder`.

    Finished runs of different settings are not pooled: `runs` are those with the settings of most of the runs that the
    study is to hold (then: of most runs, then: of the run finished last), `others` the rest.

    Args:
      folder: the run folder.
      variants, seeds: what the study is to hold (no variants: all that were mixed). Decides what is missing; others
        that are finished are read, too.
      rule: '' for the categories of the run's match rule, 'strict_' for those of the strict one.

    Raises InputError where a file is damaged.
    """
    folder = epath.Path(folder)
    manifest = run_folder.read_object(folder / "mixtures" / "manifest.json")
    missing = [] if manifest else ["no mixtures (mixtures/manifest.json): run `slick mix`"]
    manifest = manifest or {}
    annotations = annotated.read(folder / "annotations.parquet", rule)
    if annotations is None:
        missing.append("no annotations (annotations.parquet): run `slick annotate`")

    expected = [(variant, seed) for variant in variants or variant_names(manifest) for seed in seeds]
    found = _found(folder / "train")
    runs, settings = {}, {}
    for variant, seed in sorted({*expected, *found}, key=_order(manifest)):
        place = folder / "train" / variant / f"seed-{seed}"
        result = run_folder.read_object(place / "result.json")
        if result is not None:
            with run_folder.explained(place, "remove the folder and train again"):
                runs[variant, seed] = _read_run(place, variant, seed, result, rule)
            settings[variant, seed] = run_folder.read_object(place / "train.json") or {}
        elif (variant, seed) in expected:
            missing.append(f"{variant}, seed {seed}: {_state(place)}; run `slick study`")

    def rank(names: list[comparable.Name]) -> tuple[int, int, float]:
        ended = ((folder / "train" / variant / f"seed-{seed}" / "result.json").stat().mtime for variant, seed in names)
        return sum(name in expected for name in names), len(names), max(ended)

    apart = comparable.set_apart(settings, rank)
    pooled = tuple(run for name, run in runs.items() if name not in apart)
    evaluated = {"test"}.union(*(run.accuracy["split"] for run in pooled))
    for run in pooled:
        missing += _gaps(run, [split for split in TESTS if split in evaluated])
    missing += _unanswered(pooled)
    missing += _left_out(apart)
    others = tuple((runs[name], difference) for name, difference in apart.items())
    saturation = None if rule else _read_saturation(folder / "saturation.csv")  # which is of the run's own rule
    return Study(manifest, annotations, pooled, tuple(missing), others, saturation)


def _read_saturation(path: epath.Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    columns = {"n_exemplar_sets": int, "n_samples": int} | dict.fromkeys(CATEGORIES, float)
    try:
        table = pd.read_csv(io.StringIO(path.read_text()))[[*columns]].astype(columns)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: no table of {', '.join(columns)} ({error}); run `slick annotate` again") from error
    return table


def _read_run(place: epath.Path, variant: str, seed: int, result: dict[str, Any], rule: str) -> TrainingRun:
    absent = [name for name in ("n", "early_stop_epoch", "convergence_epoch") if name not in result]
    if absent:
        raise InputError(f"{place / 'result.json'}: no {', '.join(absent)}; remove the folder and train again")
    accuracy = _read_accuracy(place / "metrics.jsonl", result)
    examples = _read_examples(place / "fit.parquet")
    mixture = place.parent.parent.parent / "mixtures" / f"{variant}.parquet"
    return TrainingRun(
        variant=variant,
        seed=seed,
        size=int(result["n"]),
        early_stop=result["early_stop_epoch"],
        convergence=int(result["convergence_epoch"]),
        accuracy=accuracy,
        fitted=_count_fitted(examples, accuracy),
        examples=examples,
        answers=read_answers(place / "answers.parquet"),
        shifted=read_shifts(place, rule),
        golds=run_folder.read_parquet(mixture).select(["relation", "answer"]).to_pandas() if mixture.exists() else None,
    )


def _read_accuracy(path: epath.Path, result: dict[str, Any]) -> pd.DataFrame:
    """Accuracy of every split, whole and by category. Splits asked later, at a stopping point, are in `result` only."""
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            record = json.loads(line)
            epochs.setdefault(int(record["epoch"]), {}).update(record)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number}: not a line of metrics ({error}); train again") from error
    for stop in ("early_stop", "convergence"):
        if result[f"{stop}_epoch"] is not None:
            line = epochs.setdefault(result[f"{stop}_epoch"], {})
            line |= {split: score for split, score in result.get(stop, {}).items() if split not in line}
    rows = [
        (epoch, split, category, cell["em"], cell["n"])
        for epoch, record in sorted(epochs.items())
        for split, score in record.items()
        if isinstance(score, dict) and "em" in score
        for category, cell in {WHOLE: score, **score.get("by_category", {})}.items()
        if cell.get("em") is not None
    ]
    return pd.DataFrame(rows, columns=["epoch", "split", "category", "em", "n"])


def _read_examples(path: epath.Path) -> pd.DataFrame:
    """fit.parquet: was this training example answered right after this epoch?"""
    if not path.exists():
        raise InputError(f"{path}: missing beside a result.json; remove the folder and train again")
    table = run_folder.read_parquet(path).select(["id", "category", "epoch", "fitted"]).to_pandas()
    table["category"] = table["category"].astype(object).where(table["category"].notna(), NOT_ANNOTATED)
    return table.astype({"id": "category", "category": "category"})


def _count_fitted(table: pd.DataFrame, accuracy: pd.DataFrame) -> pd.DataFrame:
    """Counts of fitted training examples by epoch and category, of the table example x epoch.

    An epoch at which they were asked later has no rows there; its counts follow from `accuracy`.
    """
    counts = table.groupby(["epoch", "category"], observed=True)["fitted"].agg(fitted="sum", n="size")
    later = accuracy[
        (accuracy["split"] == "train") & (accuracy["category"] != WHOLE) & ~accuracy["epoch"].isin(table["epoch"])
    ]
    later = later.assign(fitted=(later["em"] * later["n"]).round())[["epoch", "category", "fitted", "n"]]
    found = pd.concat([counts.reset_index(), later]) if len(later) else counts.reset_index()
    return found.astype({"epoch": int, "category": str, "fitted": int, "n": int}).sort_values(
        ["epoch", "category"], ignore_index=True
    )


def _left_out(apart: dict[comparable.Name, str]) -> list[str]:
    """A sentence for every kind of settings whose runs are not pooled with the others."""
    named: dict[str, list[str]] = {}
    for (variant, seed), difference in apart.items():
        named.setdefault(difference, []).append(f"{variant}, seed {seed}")
    return [
        f"{'; '.join(names)}: finished, and left out as not comparable with the other runs: {difference}; give runs of"
        " other settings another run_dir, or choose which to show by config.study.variants and config.study.seeds"
        for difference, names in named.items()
    ]


def _gaps(run: TrainingRun, splits: Sequence[str]) -> list[str]:
    """What a finished run cannot tell of these splits or of the training examples, because they were not evaluated."""
    name = f"{run.variant}, seed {run.seed}"
    gaps = [
        f"{name}: {split} was never evaluated" for split in splits if not (run.accuracy["split"] == split).any()
    ]
    for stop in STOPS:
        epoch = run.epoch_of(stop)
        if epoch is None:
            gaps.append(f"{name}: the development set was never evaluated, so there is no {stop}")
            continue
        for split in splits:
            evaluated = run.accuracy["split"] == split
            if evaluated.any() and not (evaluated & (run.accuracy["epoch"] == epoch)).any():
                gaps.append(f"{name}: {split} was not evaluated at {stop}, epoch {epoch}")
        if run.fitted_at(epoch).empty:
            gaps.append(f"{name}: the training examples were not evaluated at {stop}, epoch {epoch}")
    return gaps


def _unanswered(pooled: Sequence[TrainingRun]) -> list[str]:
    """A sentence for the runs that do not tell which question was answered right."""
    without = [f"{run.variant}, seed {run.seed}" for run in pooled if run.answers is None]
    if not without:
        return []
    return [
        f"{'; '.join(without)}: no answers.parquet (every answer at the stopping points), which intervals, T2, T8, F5"
        " and the findings are made of; remove their folders and run `slick study` again"
    ]


def _state(place: epath.Path) -> str:
    epochs = sum(line.endswith("}") for line in _lines(place / "metrics.jsonl"))
    return f"unfinished, {epochs} epochs done" if epochs else "unfinished" if place.exists() else "not started"


def _lines(path: epath.Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _found(train: epath.Path) -> set[tuple[str, int]]:
    """(variant, seed) of every finished run below train/."""
    if not train.exists():
        return set()
    seeds = {(place.parent.name, place.name) for place in train.glob("*/seed-*") if (place / "result.json").exists()}
    return {(variant, int(seed[5:])) for variant, seed in seeds if seed[5:].isdecimal()}


def _order(manifest: dict[str, Any]):
    """Sort key: variants as in the manifest, others behind them by name, then seeds."""
    place = {name: index for index, name in enumerate(variant_names(manifest))}
    return lambda run: (place.get(run[0], len(place)), run[0], run[1])


def _percent(pattern: re.Pattern[str], variant: str) -> int | None:
    found = pattern.fullmatch(variant)
    return int(found.group(1)) if found else None


def category_order(names: Sequence[str]) -> list[str]:
    """The four categories in the paper's order, as far as they are among `names`."""
    return [name for name in CATEGORIES if name in set(names)]
