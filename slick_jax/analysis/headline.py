"""The study in a few figures and sentences: what was fitted when, and what the stopping point costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from slick_jax.analysis import curves
from slick_jax.analysis.runs import Study, TrainingRun
from slick_jax.categories import GROUPS
from slick_jax.epochs import FIT_PERCENTS, STOPS

TESTS = {"test": "test", "ood_test": "OOD"}
LEGEND = (
    f"{' and '.join(f'fit{percent}' for percent in FIT_PERCENTS)}: first evaluated epoch after which that percentage of"
    " the Known (Unknown) training examples is answered right; EARLY_STOP: epoch with the best development accuracy;"
    " CONVERGENCE: last epoch; test and OOD at ES and CONV: accuracy (%) at these two; a dash: none, or not evaluated"
)
OF_SEEDS = "Numbers are means over seeds; the lowest and the highest seed stand in brackets where they differ."


def table(runs: Iterable[TrainingRun]) -> pd.DataFrame:
    """A row per run; what the columns mean is LEGEND."""
    rows = []
    for run in runs:
        row = {"variant": run.variant, "seed": run.seed, "examples": run.size}
        for group in GROUPS:
            row |= {f"fit{percent} {group}": curves.epoch_to_fit(run, group, percent) for percent in FIT_PERCENTS}
        for stop, short in zip(STOPS, ("ES", "CONV"), strict=True):
            epoch = run.epoch_of(stop)
            row[stop] = epoch
            row |= {f"{name} at {short}": run.accuracy_at(epoch, split) for split, name in TESTS.items()}
        rows.append(row)
    found = pd.DataFrame(rows)
    epochs = [name for name in found if name.startswith("fit") or name in STOPS]
    return found.astype(dict.fromkeys(epochs, "Int64")).round(1)


def sentences(study: Study, table_one: pd.DataFrame) -> list[str]:
    """What the finished runs say, most important first; only what they can tell."""
    followed = curves.followed(study)
    said = [*_fitting(followed), *_stopping(followed), *_cost(study), *_ablation(study), *_regression(table_one)]
    return [*said, OF_SEEDS] if said and len({run.seed for run in study.runs}) > 1 else said


def _fitting(runs: Sequence[TrainingRun]) -> list[str]:
    """When half and nearly all of the Known and of the Unknown examples were fitted, over the seeds of one mixture."""
    said = []
    for group in GROUPS:
        parts = []
        with_group = [run for run in runs if (curves.known_or_unknown(run.fitted["category"]) == group).any()]
        for percent in FIT_PERCENTS if with_group else ():
            epochs = [curves.epoch_to_fit(run, group, percent) for run in with_group]
            reached = [epoch for epoch in epochs if epoch is not None]
            last = max(run.convergence for run in with_group)
            when = f"after epoch {_spread(reached)}" if reached else f"at no epoch up to {last}"
            if reached and len(reached) < len(epochs):
                when += f" (and in {len(epochs) - len(reached)} of {len(epochs)} seeds at none up to {last})"
            parts.append(f"{percent} % {when}")
        if parts:
            said.append(f"of the {group} examples, {' and '.join(parts)}")
    return [f"With {runs[0].percent} % Unknown examples, these were fitted: {'; '.join(said)}."] if said else []


def _stopping(runs: Sequence[TrainingRun]) -> list[str]:
    """Where fitting stood when dev accuracy was best, over the seeds of one mixture."""
    counts = {run.seed: run.fitted_at(run.early_stop) for run in runs}
    runs = [run for run in runs if not counts[run.seed].empty]
    if not runs:
        return []
    shares = pd.concat([counts[run.seed]["fitted"] / counts[run.seed]["n"] * 100 for run in runs], axis=1)
    fitted = [f"{_spread(shares.loc[group].dropna())} % of the {group}" for group in shares.index]
    best = _spread([run.accuracy_at(run.early_stop, curves.DEV) for run in runs], ".1f")
    return [
        f"Development accuracy was best, at {best} %, after epoch {_spread([run.early_stop for run in runs])} of"
        f" {max(run.convergence for run in runs)} (EARLY_STOP), when {' and '.join(fitted)} examples were fitted."
    ]


def _cost(study: Study) -> list[str]:
    """Test accuracy from the least to the most Unknown, at both stopping points."""
    said = []
    for split, name in TESTS.items():
        points = curves.ablation(study, split).query("data == 'D'")
        parts: dict[tuple[int, int], list[str]] = {}
        for stop in STOPS:
            here = points[points["stop"] == stop]
            least, most = here["percent_unknown"].min(), here["percent_unknown"].max()
            if least < most:
                change = _difference(here, "percent_unknown", least, most)
                parts.setdefault((least, most), []).append(f"{change} points at {stop}")
        said += [
            f"From {least} % to {most} % Unknown examples, {name} accuracy changed by {', '.join(changes)}."
            for (least, most), changes in parts.items()
        ]
    return said


def _ablation(study: Study) -> list[str]:
    """What the Unknown examples of a mixture cost: D minus D_Known."""
    points = curves.ablation(study, "test")
    said = []
    for percent in sorted(set(points["percent_unknown"]) - {0}):
        parts = []
        for stop in STOPS:
            here = points[(points["percent_unknown"] == percent) & (points["stop"] == stop)]
            if here["data"].nunique() == 2:
                parts.append(f"{_difference(here, 'data', 'D_Known', 'D')} points at {stop}")
        if parts:
            said.append(
                f"Beside the same Known examples alone (D_Known), the {percent} % mixture made a difference of"
                f" {', '.join(parts)} in test accuracy."
            )
    return said


def _regression(table_one: pd.DataFrame) -> list[str]:
    return [
        f"By the regression over all epochs and mixtures (R2 {row.r2:.2f}), fitting a training set of Known examples"
        f" only goes with {row.b_kn:+.1f} points of {TESTS[row.split]} accuracy, one of Unknown examples only with"
        f" {row.b_unk:+.1f} points."
        for row in table_one.itertuples()
    ]


def _difference(points: pd.DataFrame, column: str, first: object, last: object) -> str:
    """Accuracy at `last` minus that at `first` of `column`: of each seed that has both, else of the means."""
    of_seed = points.pivot_table(index="seed", columns=column, values="accuracy")
    pairs = (of_seed[last] - of_seed[first]).dropna()
    return _spread(pairs if len(pairs) else [of_seed[last].mean() - of_seed[first].mean()], "+.1f")


def _spread(values: Iterable[float], form: str = ".0f") -> str:
    """One value as it is; several, of seeds, as their mean and range where they differ: '-9.8 (-12.0 to -8.1)'."""
    numbers = pd.Series(list(values), dtype=float)
    low, high = f"{numbers.min():{form}}", f"{numbers.max():{form}}"
    if low == high:
        return low
    mean = numbers.mean()
    return f"{mean:{'.1f' if form == '.0f' else form}} ({low} to {high})"
