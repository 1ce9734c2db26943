"""The nine findings of the paper, computed from the finished runs of a study."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from slick_jax.analysis import curves, idk, regression, unknown_tests
from slick_jax.analysis.bootstrap import Estimate, mean
from slick_jax.analysis.evidence import Evidence
from slick_jax.analysis.fitting import Fitting
from slick_jax.analysis.verdicts import Effect, Finding, absent, measured
from slick_jax.categories import CATEGORIES
from slick_jax.epochs import FIT_PERCENTS, STOPS

EARLY, LATE = STOPS
CLAIMS = {
    "a": "Unknown examples are fitted later than Known ones",
    "b": "test accuracy at CONVERGENCE falls with the share of Unknown examples, and EARLY_STOP loses less",
    "c": "the Known examples of a mixture alone do not lose between EARLY_STOP and CONVERGENCE what the mixture loses",
    "d": "fitting Known examples helps test accuracy, fitting Unknown ones harms it (b_kn > 0 > b_unk)",
    "e": "MaybeKnown examples alone teach at least as much as HighlyKnown ones alone",
    "f": "the fall with Unknown examples (b) and the signs of the regression (d) are found on OOD relations, too",
    "g": "after fine-tuning, accuracy is ordered HighlyKnown > MaybeKnown > WeaklyKnown > Unknown",
    "h": "of what SliCK calls Unknown less is answered right than of as much by P(True), and N_ex = 10 beats 1",
    "i": "teaching 'I don't know' raises accuracy on the answered questions, and stops the loss with long training",
}
NAMES = {"test": "test", "ood_test": "OOD test"}


def nine(evidence: Evidence, table_one: pd.DataFrame) -> list[Finding]:
    """Findings (a) to (i), each with its effects.

    Args:
      table_one: of `regression.table_one`.
    """
    effects = {
        "a": _fitted_later(evidence),
        "b": _falls(evidence, "test"),
        "c": _known_alone(evidence),
        "d": _coefficients(table_one, "test"),
        "e": _maybe_against_highly(evidence),
        "f": [*_falls(evidence, "ood_test"), *_coefficients(table_one, "ood_test")],
        "g": _ordered(evidence),
        "h": _unknown_is_unknown(evidence),
        "i": _refusing(evidence),
    }
    return [Finding(letter, CLAIMS[letter], tuple(found)) for letter, found in effects.items()]


def _fitted_later(evidence: Evidence) -> list[Effect]:
    """(a) In the mixture nearest to 50 % Unknown: epochs until a share of Unknown is fitted, minus those of Known."""
    runs = curves.followed(evidence.study)
    what = "epochs until {} % are fitted, Unknown minus Known"
    if not runs or any(run.examples.empty for run in runs):
        reason = "no finished unknown_<X> run with evaluated training examples"
        return [absent(what.format(percent), 1, reason, "epochs") for percent in FIT_PERCENTS]
    fitting = Fitting(runs)
    found = []
    for percent in FIT_PERCENTS:
        named = f"{what.format(percent)} ({runs[0].variant})"
        unknown, known = (fitting.epoch_to_fit(group, percent) for group in ("Unknown", "Known"))
        if unknown is None or known is None:
            found.append(absent(named, 1, f"{runs[0].variant} has not both kinds of examples", "epochs"))
            continue
        never = [run for run in runs if curves.epoch_to_fit(run, "Unknown", percent) is None]
        named += f", at least: in {len(never)} of {len(runs)} seeds Unknown never are" if never else ""
        over = f"{len(fitting.group):,} training examples"
        found.append(measured(named, 1, unknown - known, over, "epochs"))
    return found


def _falls(evidence: Evidence, split: str) -> list[Effect]:
    """(b) The mixture with most Unknown minus that with least, at CONVERGENCE; and how much less at EARLY_STOP."""
    by_percent = _answered_mixtures(evidence, split)
    name = NAMES[split]
    late = f"{name} accuracy at CONVERGENCE, most minus least Unknown"
    less = f"change of {name} accuracy from least to most Unknown, EARLY_STOP minus CONVERGENCE"
    seeds = _seeds(evidence, split, [*by_percent.values()])
    if len(by_percent) < 2 or not seeds:
        reason = f"needs answers on {split} of two unknown_<X> variants with a seed in common"
        return [absent(late, -1, reason), absent(less, 1, reason)]
    least, most = min(by_percent), max(by_percent)
    change = {
        stop: evidence.accuracy(split, by_percent[most], stop, seeds=seeds)
        - evidence.accuracy(split, by_percent[least], stop, seeds=seeds)
        for stop in STOPS
    }
    over = _questions(evidence, split)
    return [
        measured(f"{name} accuracy at CONVERGENCE, {most} % minus {least} % Unknown", -1, change[LATE], over),
        measured(
            f"change of {name} accuracy from {least} % to {most} % Unknown, EARLY_STOP minus CONVERGENCE",
            1, change[EARLY] - change[LATE], over,
        ),
    ]  # fmt: skip


def _known_alone(evidence: Evidence) -> list[Effect]:
    """(c) The change from EARLY_STOP to CONVERGENCE of D_Known minus that of D, mean over the shares that have both."""
    what = "change of test accuracy from EARLY_STOP to CONVERGENCE, D_Known minus D"
    known = {run.known_only_percent: run.variant for run in evidence.study.runs if run.known_only_percent is not None}
    mixed = _answered_mixtures(evidence, "test")
    both = sorted(percent for percent in known.keys() & mixed.keys() if evidence.has("test", known[percent]))
    seeds = _seeds(evidence, "test", [by[percent] for percent in both for by in (known, mixed)])
    if not both or not seeds:
        reason = "needs answers of known_only_<X> and unknown_<X> of the same X with a seed in common"
        return [absent(what, 1, reason)]
    differences = [
        _change(evidence, known[percent], seeds) - _change(evidence, mixed[percent], seeds) for percent in both
    ]
    named = f"{what} (at {', '.join(map(str, both))} % Unknown{', mean' if len(both) > 1 else ''})"
    return [measured(named, 1, mean(differences), _questions(evidence, "test"))]


def _coefficients(table_one: pd.DataFrame, split: str) -> list[Effect]:
    """(d) The two coefficients of the regression, with intervals clustered by run."""
    rows = table_one[table_one["split"] == split] if len(table_one) else table_one
    found = []
    for name, sign in (("b_kn", 1), ("b_unk", -1)):
        what = f"{name} on {NAMES[split]}"
        if not len(rows):
            found.append(absent(what, sign, f"there is no regression (T1) for {split}"))
            continue
        row = rows.iloc[0]
        numbers = [float(row[key]) for key in (name, f"{name}_low", f"{name}_high")]
        few = f"an interval needs {regression.LEAST_RUNS} runs of unknown_<X> or more"
        reason = few if np.isnan(numbers[1]) else ""
        found.append(Effect(what, sign, "points", *numbers, f"{row['n_runs']} runs, clustered", reason))
    return found


def _maybe_against_highly(evidence: Evidence) -> list[Effect]:
    """(e) D_MaybeKnown minus D_HighlyKnown on the whole test set."""
    variants = "only_MaybeKnown", "only_HighlyKnown"
    what = {stop: f"test accuracy at {stop}, D_MaybeKnown minus D_HighlyKnown" for stop in STOPS}
    if not evidence.has("test", *variants):
        reason = f"needs answers of {' and '.join(variants)} with a seed in common"
        return [absent(named, 1, reason) for named in what.values()]
    seeds = evidence.outcomes["test"].seeds(*variants)
    found = []
    for stop, named in what.items():
        maybe, highly = (evidence.accuracy("test", name, stop, seeds=seeds) for name in variants)
        found.append(measured(named, 1, maybe - highly, _questions(evidence, "test")))
    return found


def _ordered(evidence: Evidence) -> list[Effect]:
    """(g) Neighbouring categories, mean over all unknown_<X> mixtures, at both stopping points."""
    variants = [*_answered_mixtures(evidence, "test").values()]
    seeds = _seeds(evidence, "test", variants)
    there = set(evidence.outcomes["test"].questions["category"]) if variants else set()
    found = []
    for stop in STOPS:
        for better, worse in pairwise(CATEGORIES):
            what = f"test accuracy at {stop}, {better} minus {worse} questions"
            if not seeds or not {better, worse} <= there:
                reason = "needs answers of unknown_<X> runs to test questions of all four categories"
                found.append(absent(what, 1, reason))
                continue
            pairs = [
                evidence.accuracy("test", name, stop, better, seeds)
                - evidence.accuracy("test", name, stop, worse, seeds)
                for name in variants
            ]
            found.append(measured(what, 1, mean(pairs), _questions(evidence, "test")))
    return found


def _unknown_is_unknown(evidence: Evidence) -> list[Effect]:
    """(h) Of D_Natural at EARLY_STOP: accuracy on what SliCK calls Unknown, minus that on what others call so."""
    one, missing = unknown_tests.tested(evidence, EARLY)
    against = "accuracy on what is called Unknown, SliCK minus P(True) at equal share"
    fewer = "accuracy on what SliCK calls Unknown, all exemplar sets minus one"
    if one is None or "hit_sets" not in one.table:
        return [absent(what, -1, missing[0].removeprefix("F5: ")) for what in (against, fewer)]
    sets, over = int(one.table["n_sets"].max()), _questions(evidence, "test")
    share, right = one.slick(sets)
    found = []
    if "p_true" in one.table:
        found.append(measured(against, -1, right - one.below_at("p_true", share), over))
    else:
        found.append(absent(against, -1, missing[-1].removeprefix("F5: ")))
    if sets > 1:
        named = f"accuracy on what SliCK calls Unknown, N_ex = {sets} minus N_ex = 1"
        return [*found, measured(named, -1, right - one.slick(1)[1], over)]
    return [*found, absent(fewer, -1, "the annotations have one exemplar set")]


def _refusing(evidence: Evidence) -> list[Effect]:
    """(i) D_IDK minus D at 50 % Unknown: accuracy on answered questions, and its change with long training."""
    raised = {stop: f"accuracy on answered questions at {stop}, D_IDK minus D" for stop in STOPS}
    kept = "change of accuracy on answered questions from EARLY_STOP to CONVERGENCE, D_IDK minus D"
    if not evidence.has("test", *idk.VARIANTS):
        reason = idk.NEEDS.removeprefix("T8: ")
        return [absent(what, 1, reason) for what in (*raised.values(), kept)]
    seeds = evidence.outcomes["test"].seeds(*idk.VARIANTS)
    more = {}
    for stop in STOPS:
        plain, refusing = (evidence.when_answered("test", name, stop, seeds)[0] for name in idk.VARIANTS)
        more[stop] = refusing - plain
    over = _questions(evidence, "test")
    found = [measured(what, 1, more[stop], over) for stop, what in raised.items()]
    return [*found, measured(kept, 1, more[LATE] - more[EARLY], over)]


def _change(evidence: Evidence, variant: str, seeds: Sequence[int]) -> Estimate:
    early, late = (evidence.accuracy("test", variant, stop, seeds=seeds) for stop in STOPS)
    return late - early


def _answered_mixtures(evidence: Evidence, split: str) -> dict[int, str]:
    """The unknown_<X> variants with answers at both stopping points, by X."""
    found = {run.percent: run.variant for run in evidence.study.mixtures}
    return {percent: name for percent, name in found.items() if evidence.has(split, name)}


def _seeds(evidence: Evidence, split: str, variants: Sequence[str]) -> tuple[int, ...]:
    return evidence.outcomes[split].seeds(*variants) if variants else ()


def _questions(evidence: Evidence, split: str) -> str:
    return f"{len(evidence.outcomes[split].questions):,} questions"
