"""How factual the answers of every arm are, with paired bootstrap intervals over entities and training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from slick_jax.analysis.bootstrap import DRAWS, Estimate, Resampler, mean
from slick_jax.longform.arms import BASE, NAMES


@dataclass(frozen=True)
class Metric:
    """sum(top) / sum(bottom) over answers, times `scale`; `plus`: whether more is better (0: neither)."""

    what: str
    top: str
    bottom: str
    scale: float
    unit: str
    plus: int


METRICS = {
    "precision": Metric("precision, mean over answers", "precision", "responding", 100, "%", 1),
    "precision_micro": Metric("precision over all claims", "supported", "claims", 100, "%", 1),
    "factscore": Metric("FActScore, gamma = {gamma:g}", "factscore", "responding", 100, "%", 1),
    "supported": Metric("supported claims per answer", "supported", "answers", 1, "claims", 1),
    "unsupported": Metric("unsupported claims per answer", "unsupported", "answers", 1, "claims", -1),
    "claims": Metric("claims per answer", "claims", "answers", 1, "claims", 0),
    "tokens": Metric("tokens per answer", "n_tokens", "answers", 1, "tokens", 0),
    "abstained": Metric("answers without a claim", "abstained", "answers", 100, "%", 0),
    "repeated": Metric("claims that repeat one of their answer", "repeated", "claims", 100, "%", -1),
    "parsed": Metric("sentences that parse", "parsed", "sentences", 100, "%", 1),
    "truncated": Metric("answers cut at the token limit", "truncated", "answers", 100, "%", -1),
}
SUMS = sorted({name for metric in METRICS.values() for name in (metric.top, metric.bottom)})


class Scores:
    """Metrics of all arms on the entities of one split, as paired estimates.

    Entities and training seeds are crossed, and both are resampled (`analysis.bootstrap`), by the same draws for all
    arms of a domain; domains are drawn apart. An arm's several answers about one entity are drawn together.
    """

    def __init__(self, answers: pd.DataFrame, split: str = "test", draws: int = DRAWS, seed: int = 0):
        """Args: answers: of `answers.per_answer`."""
        rows = answers[answers["split"] == split]
        self.split, self.answers = split, rows
        self.domains = list(dict.fromkeys(rows["domain"]))
        self.arms = [name for name in NAMES if name in set(rows["arm"])]
        asked = rows.drop_duplicates("entity").sort_values("entity")[["domain", "entity", "exposure"]]
        self.entities = {domain: asked[asked["domain"] == domain] for domain in self.domains}
        self._resamplers = {
            domain: Resampler(len(self.entities[domain]), draws, seed=1000 * seed + place)
            for place, domain in enumerate(self.domains)
        }
        sums = rows.assign(answers=1, responding=(~rows["abstained"]).astype(int))
        keys = ["arm", "trained_on", "domain", "seed", "entity"]
        self._sums = sums[[*keys, *SUMS]].groupby(keys).sum().astype(float)
        cells = self._sums.index.droplevel("entity").unique()
        self._seeds = pd.Series(cells.get_level_values("seed"), cells.droplevel("seed")).groupby(level=[0, 1, 2])
        self._seeds = {key: tuple(sorted(of)) for key, of in self._seeds}

    def seeds(self, domain: str, *arms: str, trained_on: str | None = None) -> tuple[int, ...]:
        """Training seeds with which all of these were asked about the domain; BASE, which has none, goes with any."""
        found = [set(self._seeds.get(self._key(arm, domain, trained_on), ())) for arm in arms]
        trained = [of for arm, of in zip(arms, found, strict=True) if arm != BASE]
        return tuple(sorted(set.intersection(*(trained or found)))) if all(found) else ()

    def estimate(
        self, metric: str, arm: str, domain: str, *, trained_on: str | None = None,
        seeds: Sequence[int] | None = None, among: np.ndarray | None = None,
    ) -> Estimate | None:  # fmt: skip
        """The mean over seeds of a metric, in its unit; None where there are no answers.

        Args:
          trained_on: the domain of the training texts (default: `domain`).
          seeds: default all of the arm. Estimates to be compared must have the same.
          among: entities of `entities[domain]` to take, [N] bool (default: all).
        """
        seeds = self.seeds(domain, arm, trained_on=trained_on) if seeds is None else seeds
        if not seeds or not self.seeds(domain, arm, trained_on=trained_on):
            return None
        one, key = METRICS[metric], self._key(arm, domain, trained_on)
        names = self.entities[domain]["entity"]
        own = self._seeds[key]
        cells = [(*key, seed if arm != BASE or seed in own else own[0]) for seed in seeds]
        per_seed = [self._sums.loc[cell].reindex(names) for cell in cells]
        top, bottom = (np.stack([of[name].fillna(0).to_numpy() for of in per_seed]) for name in (one.top, one.bottom))
        if among is not None:
            top, bottom = top * among, bottom * among
        found = self._resamplers[domain].ratio(seeds, top, bottom)
        counted = 1 if arm == BASE and len(own) == 1 else found.n_seeds
        return Estimate(found.value * one.scale / 100, found.draws * one.scale / 100, counted)

    def difference(
        self, metric: str, one: str, other: str, domain: str, *, trained_on: str | None = None,
        among: np.ndarray | None = None,
    ) -> Estimate | None:  # fmt: skip
        """`one` minus `other`, over their common seeds; None where there are none."""
        seeds = self.seeds(domain, one, other, trained_on=trained_on)
        found = [
            self.estimate(metric, arm, domain, trained_on=trained_on, seeds=seeds, among=among) for arm in (one, other)
        ]
        if not seeds or None in found:
            return None
        return replace(found[0] - found[1], n_seeds=len(seeds))

    def mean_difference(self, metric: str, one: str, other: str) -> Estimate | None:
        """The plain mean over the domains that have both."""
        found = [self.difference(metric, one, other, domain) for domain in self.domains]
        there = [estimate for estimate in found if estimate is not None]
        return mean(there) if there else None

    def _key(self, arm: str, domain: str, trained_on: str | None) -> tuple[str, str, str]:
        return arm, "" if arm == BASE else domain if trained_on is None else trained_on, domain


def row_of(estimate: Estimate) -> dict[str, float]:
    """The columns value, low, high and seeds of a table."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "seeds": estimate.n_seeds}
