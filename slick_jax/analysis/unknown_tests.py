"""F5: which measure tells best what a model will get wrong after fine-tuning (paper figure 5 and section 6)?

SliCK with fewer exemplar sets, and P(True) below a threshold, each call a share of the test questions Unknown; what
they call so is asked of the model that was fine-tuned on D_Natural. The lower its accuracy, the better the measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import comb

from slick_jax.analysis.bootstrap import TAILS, Estimate, Resampler
from slick_jax.analysis.evidence import Evidence

TUNED = "natural"
SCORES = {
    "p_correct_sampled": "P_Correct, sampled",
    "p_correct_exact": "P_Correct, exact",
    "p_correct_greedy": "P_Correct, greedy",
    "p_true": "P(True)",
}
AT_ONCE = 256  # columns whose quantiles are taken together, to save memory


def unknown_chance(hit_sets: np.ndarray, n_sets: np.ndarray, n: int) -> np.ndarray:
    """The share of the n-subsets of its exemplar sets by which a question is Unknown, [N]: no right answer in any.

    Which sets came first is chance, so all choices of n of them count alike; with all of them it is 0 or 1.

    Args:
      hit_sets: behind how many sets there is a right answer, greedy or sampled, [N]; n_sets: how many there are, [N].
    """
    return comb(n_sets - hit_sets, n) / comb(n_sets, n)


@dataclass(frozen=True)
class Tested:
    """The test questions as asked of the tuned model: N questions, S seeds."""

    table: pd.DataFrame  # N rows: hit_sets, n_sets and SCORES as far as they are there
    hits: np.ndarray  # bool [S N], after fine-tuning
    seeds: tuple[int, ...]
    resampler: Resampler

    def called(self, chance: np.ndarray) -> tuple[Estimate, Estimate]:
        """Percent of the questions that are called Unknown, and accuracy on these; chance [N]: how surely each is."""
        chance = np.broadcast_to(chance, self.hits.shape)
        ones = np.ones(self.hits.shape[1])
        return self.resampler.ratio(self.seeds, chance, ones), self.resampler.ratio(
            self.seeds, chance * self.hits, chance
        )

    def slick(self, n: int) -> tuple[Estimate, Estimate]:
        """`called` by SliCK with n exemplar sets."""
        hit_sets, n_sets = (self.table[name].to_numpy() for name in ("hit_sets", "n_sets"))
        return self.called(unknown_chance(hit_sets, n_sets, n))

    def below(self, score: str) -> pd.DataFrame:
        """What a score below a threshold calls Unknown, at every threshold: threshold, share, accuracy, low, high."""
        values, weighted, right = self._sorted(score)
        ends = np.flatnonzero(np.append(np.diff(values) > 0, True))  # equal scores are called together
        thresholds = np.append(values[ends[:-1] + 1], np.inf)
        order = np.argsort(self.table[score].to_numpy(), kind="stable")
        accuracy = 100 * np.cumsum(self.hits.mean(axis=0)[order])[ends] / (ends + 1)
        bounds = []
        for start in range(0, len(ends), AT_ONCE):
            some = ends[start : start + AT_ONCE]
            with np.errstate(invalid="ignore", divide="ignore"):
                bounds.append(np.nanquantile(100 * right[:, some] / weighted[:, some], TAILS, axis=0))
        low, high = np.concatenate(bounds, axis=1)
        shares = 100 * (ends + 1) / len(values)
        columns = {"threshold": thresholds, "share": shares, "accuracy": accuracy, "low": low, "high": high}
        return pd.DataFrame(columns)

    def below_at(self, score: str, share: Estimate) -> Estimate:
        """Accuracy on the `share` (percent) of the questions that score lowest; of equal scores, all count in part."""
        values, weighted, right = self._sorted(score)
        ends = np.flatnonzero(np.append(np.diff(values) > 0, True))
        order = np.argsort(self.table[score].to_numpy(), kind="stable")
        whole = np.arange(1, len(values) + 1)[ends], np.cumsum(self.hits.mean(axis=0)[order])[ends]
        value = _of_lowest(share.value / 100 * len(values), *whole)
        pairs = zip(share.draws / 100 * weighted[:, -1], weighted[:, ends], right[:, ends], strict=True)
        return Estimate(value, np.array([_of_lowest(*pair) for pair in pairs]), len(self.seeds))

    def auroc(self, score: str) -> Estimate:
        """How often a question answered right after fine-tuning scores above one that is not, in percent.

        A tie counts half; the mean over seeds. NaN where all are right, or none.
        """
        values = self.table[score].to_numpy(float)
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(values[order]) > 0))
        weights = self.resampler.weights[:, order]
        drawn, of_seed = [], []
        for hits in self.hits[:, order]:
            for into, of in ((drawn, weights), (of_seed, np.ones((1, len(order))))):
                right, wrong = (np.add.reduceat(of * part, starts, axis=1).astype(float) for part in (hits, ~hits))
                below = np.cumsum(wrong, axis=1) - wrong / 2
                with np.errstate(invalid="ignore"):
                    into.append((right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1)))
        of_seed = 100 * np.concatenate(of_seed)
        return self.resampler.over_seeds(self.seeds, of_seed, 100 * np.stack(drawn, axis=1))

    def _sorted(self, score: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores in rising order [N], and up to each the drawn questions and the right ones among them, [B N]."""
        values = self.table[score].to_numpy(float)
        order = np.argsort(values, kind="stable")
        weights = self.resampler.weights[:, order]
        right = self.resampler.of_seeds(self.seeds) @ self.hits[:, order]
        return values[order], np.cumsum(weights, axis=1), np.cumsum(weights * right, axis=1)


def tested(evidence: Evidence, stop: str, split: str = "test") -> tuple[Tested | None, list[str]]:
    """The questions of `split` with what was measured before fine-tuning; and what is missing for F5."""
    annotations = evidence.study.annotations
    if annotations is None or not evidence.has(split, TUNED, stops=[stop]):
        return None, [f"F5: needs a finished run of {TUNED} (D_Natural) with answers at {stop}, and annotations"]
    found, missing = evidence.outcomes[split], []
    rows = annotations[annotations["split"] == split].drop_duplicates("id").set_index("id")
    table = rows.reindex(found.questions["id"])
    if table["category"].isna().any():
        return None, [f"F5: annotations.parquet lacks {table['category'].isna().sum()} of the {split} questions"]
    if "hit_sets" not in table:
        missing.append("F5: SliCK with fewer exemplar sets needs every sample; annotate with annotate.mode='full'")
    if "p_true" not in table or table["p_true"].isna().any():
        missing.append("F5: no P(True) in annotations.parquet; annotate with annotate.p_true=True")
    there = [name for name in SCORES if name in table and table[name].notna().all()]
    kept = table[[*there, *(name for name in ("hit_sets", "n_sets") if name in table)]]
    seeds = found.seeds(TUNED, stops=[stop])
    return Tested(kept, found.of(TUNED, stop, seeds), seeds, evidence.resamplers[split]), missing


def figure_five(one: Tested) -> pd.DataFrame:
    """F5: method ('SliCK' or 'P(True)'), setting (N_ex or threshold), share called Unknown, accuracy, low, high."""
    rows = []
    if "hit_sets" in one.table:
        for n in range(1, int(one.table["n_sets"].max()) + 1):
            share, right = one.slick(n)
            rows.append(("SliCK", n, share.value, right.value, right.low, right.high))
    columns = ["method", "setting", "share", "accuracy", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    if "p_true" in one.table:
        lines = one.below("p_true").rename(columns={"threshold": "setting"}).assign(method="P(True)")[columns]
        table = pd.concat([table, lines], ignore_index=True) if len(table) else lines
    return table


def ranking(one: Tested) -> pd.DataFrame:
    """AUROC of every score for "is answered right after fine-tuning": measure, auroc (percent), low, high."""
    found = {name: one.auroc(name) for name in SCORES if name in one.table}
    rows = [(SCORES[name], of.value, of.low, of.high) for name, of in found.items()]
    return pd.DataFrame(rows, columns=["measure", "auroc", "low", "high"])


def _of_lowest(count: float, weighted: np.ndarray, right: np.ndarray) -> float:
    """Percent right of the first `count` questions, given how many there are, and how many right, up to each tie."""
    if count <= 0:
        return float("nan")
    return 100 * float(np.interp(count, np.append(0, weighted), np.append(0, right))) / float(count)
