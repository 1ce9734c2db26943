"""The top of the page: the numbers that matter, what the model knows in words, and what to run for what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slick_jax.analysis import tables
from slick_jax.analysis.runs import Study
from slick_jax.analysis.verdicts import FAILS, HOLDS, OPEN, Effect, Finding
from slick_jax.categories import CATEGORIES, UNKNOWN

FIRST = ("train", "test")  # the splits whose share of Unknown is said first


@dataclass(frozen=True)
class Tile:
    """A number and what it is."""

    number: str
    what: str


def tiles(study: Study, findings: Sequence[Finding]) -> list[Tile]:
    """The numbers at the top: how much is Unknown, what fine-tuning on it cost, how many findings hold."""
    made = []
    if study.annotations is not None and len(study.annotations):
        split = _split(study.annotations)
        of = study.annotations.loc[study.annotations["split"] == split, "category"]
        value, low, high = tables.share(int((of == UNKNOWN).sum()), len(of))
        what = f"of {len(of):,} {split} questions are Unknown to the model, 95 % [{low:.0f}, {high:.0f}]"
        made.append(Tile(f"{value:.0f} %", what))
    if not study.runs:
        return made
    by_letter = {found.letter: found for found in findings}
    cost = by_letter["b"].effects[0]
    if not np.isnan(cost.value):
        made.append(Tile(f"{cost.value:+.1f} points", f"{cost.what}{_interval(cost)}"))
    later = by_letter["a"].effects[0]
    if not np.isnan(later.value):
        made.append(Tile(f"{later.value:+.1f} epochs", f"{later.what}{_interval(later)}"))
    counts = Counter(found.verdict for found in findings)
    rest = ", ".join(f"{counts[name]} {_VERDICTS[name]}" for name in (FAILS, OPEN) if counts[name])
    what = f"of the {len(findings)} findings of the paper hold here" + (f"; {rest}" if rest else "")
    made.append(Tile(str(counts[HOLDS]), what))
    return made


_VERDICTS = {FAILS: "not", OPEN: "cannot be told"}


def sentences(study: Study) -> list[str]:
    """What the model knows, a sentence per split, and which relations it knows worst."""
    asked = study.annotations
    if asked is None or asked.empty:
        return []
    said = []
    for split in sorted(set(asked["split"]), key=lambda name: (name not in FIRST, name != "train", name)):
        of = asked.loc[asked["split"] == split, "category"]
        counts = of.value_counts()
        parts = []
        for name in CATEGORIES:
            value, low, high = tables.share(int(counts.get(name, 0)), len(of))
            parts.append(f"{value:.1f} % {name} [{low:.1f}, {high:.1f}]")
        said.append(f"Before fine-tuning, of {len(of):,} {split} questions: {', '.join(parts)} (95 % intervals).")
    return [*said, *_worst(asked)]


def commands(study: Study, folder: str, answers: bool) -> list[tuple[str, str]]:
    """What makes the parts that are not there: a command and what it gives; the first is what comes next.

    Args:
      folder: the run folder; the user's own config file is not known here.
      answers: whether the model's own answers were kept.
    """
    asked, made = study.annotations, []

    def add(command: str, what: str, setting: str = "", place: str = folder) -> None:
        made.append((f"slick {command} --config=<your config> --config.run_dir={place}{setting}", what))

    if asked is None:
        add("annotate", "what the model knows: categories, their certainty, the table of examples")
    if not study.manifest:
        add("mix", "mixtures of Known and Unknown examples")
    if not study.runs:
        add("study", "training dynamics, accuracy against % Unknown, D against D_Known, regression, findings")
    if asked is not None and not answers:
        add("annotate", "the model's own answers in the table of examples", " --config.annotate.answers=greedy")
    if asked is not None and ("p_true" not in asked or asked["p_true"].isna().all()):
        setting = " --config.annotate.p_true=true"
        add("annotate", "P(True), for its comparison with SliCK in F5", setting, "<a new folder>")
    return made


def _worst(asked: pd.DataFrame) -> list[str]:
    """The relations with most Unknown, where the data tell them from the others."""
    by = tables.shares_by_relation(asked)
    here = by[by["split"] == _split(asked)]
    if len(here) < 2 or here["unknown_low"].iloc[0] <= here["unknown_high"].iloc[-1]:
        return []  # the intervals of the ends overlap
    named = [
        f"{row['relation']} ({row[UNKNOWN]:.0f} % [{row['unknown_low']:.0f}, {row['unknown_high']:.0f}])"
        for row in here.to_dict("records")
    ]
    most = ", ".join(named[: min(3, len(named) - 1)])
    return [f"Of the relations of split {_split(asked)}, most is Unknown of {most}; least of {named[-1]}."]


def _split(asked: pd.DataFrame) -> str:
    """The split that is spoken of first."""
    there = set(asked["split"])
    return next((name for name in FIRST if name in there), sorted(there)[0])


def _interval(effect: Effect) -> str:
    return "" if np.isnan(effect.low) else f", 95 % [{effect.low:+.1f}, {effect.high:+.1f}]"
