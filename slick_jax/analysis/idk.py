"""T8: teaching "I don't know" in place of Unknown facts; accuracy on what is answered, and how much is answered."""

from __future__ import annotations

import pandas as pd

from slick_jax.analysis.evidence import Evidence
from slick_jax.epochs import STOPS

VARIANTS = {"unknown_50": "D", "idk_50": "D_IDK"}
PUBLISHED = {  # paper table 8, PaLM 2-M on EntityQuestions: accuracy on answered questions, answered (%)
    ("D", "EARLY_STOP"): (43.0, 100.0),
    ("D", "CONVERGENCE"): (38.8, 100.0),
    ("D_IDK", "EARLY_STOP"): (61.8, 58.7),
    ("D_IDK", "CONVERGENCE"): (61.8, 55.6),
}
COLUMNS = (
    "variant", "stop", "seeds", "accuracy", "low", "high", "answered", "answered_low", "answered_high",
    "paper_accuracy", "paper_answered",
)  # fmt: skip
NEEDS = "T8: needs finished runs of unknown_50 and idk_50 of one seed, with answers at both stopping points"


def table_eight(evidence: Evidence, split: str = "test") -> tuple[pd.DataFrame, list[str]]:
    """A row per data set (D, D_IDK) and stopping point, over the seeds that both have; and what is missing.

    accuracy: percent right of the questions that were answered; answered: percent of the questions that were; each
    with its interval. An answer that annotate.abstain_phrases counts as abstaining is none.
    """
    if not evidence.has(split, *VARIANTS):
        return pd.DataFrame(columns=COLUMNS), [NEEDS]
    seeds = evidence.outcomes[split].seeds(*VARIANTS)
    rows = []
    for variant, name in VARIANTS.items():
        for stop in STOPS:
            right, answered = evidence.when_answered(split, variant, stop, seeds)
            rows.append((
                name, stop, len(seeds), right.value, right.low, right.high, answered.value, answered.low,
                answered.high, *PUBLISHED[name, stop],
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS), []
