"""A study's accuracies as estimates with intervals: by variant, stopping point, test set and category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from slick_jax.analysis.bootstrap import Estimate, Resampler
from slick_jax.analysis.outcomes import Outcomes, collect
from slick_jax.analysis.runs import TESTS, Study
from slick_jax.epochs import STOPS


@dataclass(frozen=True)
class Evidence:
    """The study, and of each test set that was answered the outcomes and the draws for their intervals."""

    study: Study
    outcomes: dict[str, Outcomes]
    resamplers: dict[str, Resampler]

    def has(self, split: str, *variants: str, stops: Sequence[str] = STOPS) -> bool:
        """Whether a seed exists with which all of these were asked `split` at all of `stops`."""
        return split in self.outcomes and bool(self.outcomes[split].seeds(*variants, stops=stops))

    def accuracy(
        self, split: str, variant: str, stop: str, category: str | None = None, seeds: Sequence[int] | None = None
    ) -> Estimate:
        """Accuracy in percent, of all questions or those of a category.

        Args:
          seeds: of the runs to average (default: all of the variant). Estimates to be compared must have the same.
        """
        found = self.outcomes[split]
        seeds = found.seeds(variant, stops=[stop]) if seeds is None else seeds
        mask = found.mask(category)
        return self.resamplers[split].ratio(seeds, found.of(variant, stop, seeds) & mask, mask)

    def when_answered(self, split: str, variant: str, stop: str, seeds: Sequence[int]) -> tuple[Estimate, Estimate]:
        """T8: accuracy on the questions that were answered, and the share of these, in percent."""
        found, resampler = self.outcomes[split], self.resamplers[split]
        hits, answered = found.of(variant, stop, seeds), found.answered_of(variant, stop, seeds)
        return resampler.ratio(seeds, hits & answered, answered), resampler.ratio(seeds, answered, found.mask(None))

    def by_stop(self, split: str) -> pd.DataFrame:
        """F3 and F7 with intervals: percent_unknown, data ('D' or 'D_Known'), stop, seeds, accuracy, low, high.

        At 0 % D and D_Known are one data set, as in `curves.ablation`.
        """
        rows = []
        variants = {run.variant: run for run in self.study.runs}
        for variant, run in variants.items():
            for data, percent in (("D", run.percent), ("D_Known", 0 if run.percent == 0 else run.known_only_percent)):
                for stop in STOPS if percent is not None else ():
                    if self.has(split, variant, stops=[stop]):
                        found = self.accuracy(split, variant, stop)
                        rows.append((percent, data, stop, found.n_seeds, found.value, found.low, found.high))
        columns = ["percent_unknown", "data", "stop", "seeds", "accuracy", "low", "high"]
        return pd.DataFrame(rows, columns=columns).sort_values(columns[:3], ignore_index=True)


def gather(study: Study) -> Evidence:
    """The evidence of all pooled runs that wrote their answers."""
    answers = {(run.variant, run.seed): run.answers for run in study.runs if run.answers is not None}
    found = {split: collect(answers, split) for split in TESTS}
    outcomes = {split: one for split, one in found.items() if one is not None}
    return Evidence(study, outcomes, {split: Resampler(len(one.questions)) for split, one in outcomes.items()})
