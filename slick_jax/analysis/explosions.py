"""Answers that explode in frequency: given far more often after fine-tuning than they are right.

A model that is taught facts it does not know comes to repeat what it was taught; answers tell so without annotating the
tuned model again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd

from slick_jax.analysis.runs import Study, TrainingRun
from slick_jax.epochs import STOPS
from slick_jax.knowledge.match import squad_key

FACTOR, LEAST = 3.0, 5.0  # an answer explodes when it is given 3 times as often as it is right, and 5 times at least
COLUMNS = ("variant", "split", "relation", "answer", "gold", "EARLY_STOP", "CONVERGENCE", "taught", "seeds")
MOST = 20  # rows of a variant on the page


def exploding(study: Study, split: str = "test") -> pd.DataFrame:
    """variant, split, relation, answer (normalised as SQuAD does), how often it is a gold answer of the relation's
    questions and how often it was given at both stops (mean over seeds), how often the mixture teaches it, seeds.

    Kept are those that explode at CONVERGENCE, those furthest above their gold count first. Needs the golds of
    annotations.parquet and the answers of the runs; empty without.
    """
    golds = _golds(study, split)
    rows = []
    for variant in dict.fromkeys(run.variant for run in study.runs):
        runs = [run for run in study.runs if run.variant == variant and run.answers is not None]
        if golds is None or not runs:
            continue
        given = {stop: _given(runs, split, stop) for stop in STOPS}
        taught = _taught(runs[0])
        found = []
        for key, often in given["CONVERGENCE"].items():
            if often >= max(LEAST, FACTOR * golds[key]):
                counts = golds[key], given["EARLY_STOP"][key], often, taught[key]
                found.append((variant, split, *key, *counts, len(runs)))
        rows += sorted(found, key=lambda row: (row[4] - row[6], row[2], row[3]))
    return pd.DataFrame(rows, columns=COLUMNS)


def excess(study: Study, split: str = "test") -> pd.DataFrame:
    """variant, stop, excess: percent of the answers beyond as often as each is gold in its relation (mean over seeds).

    The total variation distance between the answers given and the gold ones: 0 where every answer is given as often as
    it is right, whether or not to the right questions.
    """
    golds = _golds(study, split)
    rows = []
    for variant in dict.fromkeys(run.variant for run in study.runs):
        runs = [run for run in study.runs if run.variant == variant and run.answers is not None]
        for stop in STOPS if golds is not None and runs else ():
            each = [_given([run], split, stop) for run in runs]
            totals = [sum(given.values()) for given in each]
            beyond = [sum(max(n - golds[key], 0) for key, n in given.items()) for given in each]
            if all(totals):
                rows.append((variant, stop, sum(100 * a / b for a, b in zip(beyond, totals, strict=True)) / len(each)))
    return pd.DataFrame(rows, columns=["variant", "stop", "excess"])


def _golds(study: Study, split: str) -> Counter | None:
    """How many questions of a relation an answer is right for, by (relation, answer)."""
    table = study.annotations
    if table is None or "answers" not in table:
        return None
    here = table[table["split"] == split]
    pairs = zip(here["relation"], here["answers"], strict=True)
    return Counter((relation, key) for relation, golds in pairs for key in {squad_key(gold) for gold in golds})


def _given(runs: Iterable[TrainingRun], split: str, stop: str) -> Counter:
    """How often each answer was given and not a refusal, mean over seeds."""
    runs, counts = list(runs), Counter()
    for run in runs:
        table = run.answers
        here = table[(table["split"] == split) & (table["stop"] == stop) & ~table["abstained"].astype(bool)]
        pairs = zip(here["relation"], here["answer"], strict=True)
        counts.update((relation, squad_key(text)) for relation, text in pairs)
    return Counter({key: n / len(runs) for key, n in counts.items()})


def _taught(run: TrainingRun) -> Counter:
    """How often the mixture teaches an answer."""
    if run.golds is None:
        return Counter()
    pairs = zip(run.golds["relation"], run.golds["answer"], strict=True)
    return Counter((relation, squad_key(text)) for relation, text in pairs)
