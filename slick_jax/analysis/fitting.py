"""When training examples are fitted, with intervals over seeds and training examples (paper figures 1, 4 and 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from slick_jax.analysis.bootstrap import TAILS, Estimate, Resampler
from slick_jax.analysis.runs import TrainingRun, known_or_unknown


class Fitting:
    """The training examples of one mixture through the epochs, over its seeds."""

    def __init__(self, runs: Sequence[TrainingRun]):
        """`runs`: one variant, a run per seed. Kept are the epochs after which every run asked its examples."""
        tables = [run.examples.pivot(index="id", columns="epoch", values="fitted").sort_index() for run in runs]
        self.epochs = sorted(set.intersection(*(set(table.columns) for table in tables)))
        self.seeds = tuple(run.seed for run in runs)
        self.fitted = np.stack([table[self.epochs].to_numpy(bool) for table in tables])  # [S N E]
        first = runs[0].examples.drop_duplicates("id").set_index("id")["category"].sort_index().astype(str)
        self.category, self.group = first.to_numpy(), known_or_unknown(first).to_numpy()
        self._resampler = Resampler(len(first))

    def epoch_to_fit(self, group: str, percent: int) -> Estimate | None:
        """The first evaluated epoch after which `percent` of 'Known' or 'Unknown' is fitted; None: there are none.

        Where that is after none of them, the epoch behind the last one counts: a lower bound.
        """
        mask = self.group == group
        if not mask.any() or not self.epochs:
            return None
        weights, fitted = self._resampler.weights[:, mask], self.fitted[:, mask].astype("f4")
        drawn = np.stack([self._first(weights @ one, weights.sum(axis=1), percent) for one in fitted], axis=1)
        of_seed = self._first(fitted.sum(axis=1), np.full(len(fitted), mask.sum()), percent)
        return self._resampler.over_seeds(self.seeds, of_seed, drawn)

    def share(self, mask: np.ndarray, epoch: int) -> Estimate:
        """Percent of the examples of `mask`, bool [N], that are fitted after `epoch`."""
        return self._resampler.ratio(self.seeds, self.fitted[:, :, self.epochs.index(epoch)] & mask, mask)

    def curves(self) -> pd.DataFrame:
        """F1/F6: curve (a category), epoch, accuracy (share fitted, percent), low, high."""
        tables = [pd.DataFrame(columns=["curve", "epoch", "accuracy", "low", "high"])] if not self.epochs else []
        of_seeds = self._resampler.of_seeds(self.seeds)  # [B S]
        for category in dict.fromkeys(self.category) if self.epochs else ():
            mask = self.category == category
            weights, fitted = self._resampler.weights[:, mask], self.fitted[:, mask].astype("f4")  # [B n], [S n E]
            right = np.einsum("bs,sbe->be", of_seeds, weights @ fitted)
            with np.errstate(invalid="ignore"):  # a draw may hold none of a small category
                low, high = np.nanquantile(100 * right / weights.sum(axis=1, keepdims=True), TAILS, axis=0)
            columns = {"epoch": self.epochs, "accuracy": 100 * fitted.mean(axis=(0, 1)), "low": low, "high": high}
            tables.append(pd.DataFrame(columns).assign(curve=category))
        return pd.concat(tables, ignore_index=True)

    def _first(self, right: np.ndarray, n: np.ndarray, percent: int) -> np.ndarray:
        """Of counts [X E] out of n [X], the first epoch with `percent` of them; the one behind the last: none."""
        reached = 100 * right >= percent * n[:, None]
        epochs = np.array([*self.epochs, self.epochs[-1] + 1])
        return epochs[np.where(reached.any(axis=1), reached.argmax(axis=1), len(self.epochs))].astype(float)


def fitted_shares(runs: Sequence[TrainingRun]) -> pd.DataFrame:
    """F4 with intervals: percent_unknown, group, fitted (percent of D at EARLY_STOP, mean over seeds), low, high.

    A mixture is left out where a run did not ask its examples at its EARLY_STOP.
    """
    rows = []
    for percent in sorted({run.percent for run in runs if run.percent is not None}):
        here = [run for run in runs if run.percent == percent]
        if any(run.examples.empty or run.early_stop not in set(run.examples["epoch"]) for run in here):
            continue
        fitting = Fitting([_at_early_stop(run) for run in here])
        for group in ("Known", "Unknown"):
            mask = fitting.group == group
            if mask.any():
                found, part = fitting.share(mask, 0), mask.mean()  # how many are Unknown is set, not drawn
                rows.append((percent, group, part * found.value, part * found.low, part * found.high))
    return pd.DataFrame(rows, columns=["percent_unknown", "group", "fitted", "low", "high"])


def _at_early_stop(run: TrainingRun) -> TrainingRun:
    """The run with the examples of its EARLY_STOP alone, as epoch 0: every seed stops at its own."""
    here = run.examples[run.examples["epoch"] == run.early_stop]
    return dataclasses.replace(run, examples=here.assign(epoch=0))
