"""The tables of the page that go with words: T1, T2, T8, recipes, F5's ranking, shift, exploding answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from slick_jax.analysis import explosions, idk, recipes, regression, shift, single_categories, unknown_tests
from slick_jax.analysis.evidence import Evidence
from slick_jax.analysis.unknown_tests import Tested
from slick_jax.epochs import STOPS

INTERVAL = "95 % interval"


@dataclass(frozen=True)
class Section:
    """A part of the page: words, then tables with a heading each ('' for none)."""

    id: str
    title: str
    text: str
    tables: Sequence[tuple[str, pd.DataFrame]]


@dataclass
class Tables:
    """What was computed for the page: whole tables by file name, the sections that show them, and what is missing."""

    files: dict[str, pd.DataFrame] = field(default_factory=dict)
    shown: list[Section] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    tested: dict[str, Tested] = field(default_factory=dict)  # F5, by stopping point

    def add(self, section: Section) -> None:
        """Keeps a section that has a row to show."""
        if any(len(table) for _, table in section.tables):
            self.shown.append(section)


def compute(evidence: Evidence) -> Tables:
    """All of them, as far as the finished runs allow."""
    made = Tables()
    _regression(evidence, made)
    _single_categories(evidence, made)
    _refusing(evidence, made)
    _recipes(evidence, made)
    _unknown_tests(evidence, made)
    _shift(evidence, made)
    _explosions(evidence, made)
    return made


def _regression(evidence: Evidence, made: Tables) -> None:
    table, missing = regression.table_one(evidence.study)
    made.files["t1_regression"] = table
    made.missing += missing
    rows = [
        {
            "split": row["split"],
            **{name: _cell(row, name, 1) for name in regression.TERMS.values()},
            "R2": f"{row['r2']:.2f}", "rows": row["n_rows"], "runs": row["n_runs"],
            **{f"paper {name}": row[f"paper_{name}"] for name in (*regression.TERMS.values(), "r2")},
        }
        for row in table.to_dict("records")
    ]  # fmt: skip
    made.add(Section(
        "t1", "T1: accuracy explained by what was fitted",
        "Accuracy = b0 + b_kn N_kn/|D| + b_unk N_unk/|D|, least squares over the evaluated epochs of every mixture."
        " N_kn and N_unk count the Known and Unknown training examples fitted after that epoch. Coefficients are in"
        f" points of accuracy, in brackets their {INTERVAL}: the epochs of one run are not independent, so standard"
        " errors are clustered by run (Student's t, one degree of freedom less than there are runs; no interval without"
        " six runs). Few runs make them rough. Columns paper_* are the published ones, of another model and data set.",
        [("", pd.DataFrame(rows))],
    ))  # fmt: skip


def _single_categories(evidence: Evidence, made: Tables) -> None:
    table, missing = single_categories.table_two(evidence)
    made.files["t2_single_categories"] = table
    made.missing += missing
    published = pd.DataFrame(
        [
            (stop, variant, *values)
            for stop, of in single_categories.PUBLISHED.items()
            for variant, values in of.items()
        ],
        columns=["published", "variant", *single_categories.SUBSETS],
    )
    made.add(Section(
        "t2", "T2, T7: data sets of one category",
        f"Test accuracy (%), mean over seeds, in brackets its {INTERVAL}; on the whole test set and on its questions of"
        " one category. * p < 0.05, ** p < 0.01: the difference from the best of the column, by a paired-sample t-test"
        " over 100 parts of the shuffled questions (paper appendix I). tables/t2_single_categories.csv has the p"
        " values, the same differences with bootstrap intervals, and EARLY_STOP against CONVERGENCE within a row (the"
        " column lost below).",
        [
            *((stop, single_categories.as_printed(table, stop)) for stop in STOPS if len(table)),
            ("EARLY_STOP minus CONVERGENCE (points)", single_categories.lost_as_printed(table)),
            *([("published (PaLM 2-M)", published)] if len(table) else []),
        ],
    ))  # fmt: skip


def _refusing(evidence: Evidence, made: Tables) -> None:
    table, missing = idk.table_eight(evidence)
    made.files["t8_idk"] = table
    made.missing += missing
    rows = [
        {
            "data": row["variant"], "stop": row["stop"],
            "accuracy on answered (%)": _cell(row, "accuracy", 1, "low", "high"),
            "answered (%)": _cell(row, "answered", 1, "answered_low", "answered_high"),
            "paper accuracy": row["paper_accuracy"], "paper answered": row["paper_answered"],
        }
        for row in table.to_dict("records")
    ]  # fmt: skip
    made.add(Section(
        "t8", "T8: teaching to refuse",
        "D is the mixture with 50 % Unknown examples; D_IDK teaches the refusal in place of their answers. Accuracy is"
        f" of the test questions that were answered and not refused. In brackets: {INTERVAL}s over seeds and"
        " questions.",
        [("", pd.DataFrame(rows))],
    ))  # fmt: skip


def _recipes(evidence: Evidence, made: Tables) -> None:
    table, told = recipes.against_mixtures(evidence), recipes.endings(evidence)
    made.files |= {"recipes": table, "recipe_endings": told} if len(table) else {}
    rows = [
        {
            "variant": row["variant"], "split": row["split"], "stop": row["stop"],
            "accuracy (%)": _cell(row, "accuracy", 1, "low", "high"),
            "more than unknown_<X> (points)": "" if pd.isna(row["more"]) else _cell(row, "more", 1),
        }
        for row in table.to_dict("records")
    ]  # fmt: skip
    endings = [
        {
            "variant": row["variant"], "split": row["split"], "stop": row["stop"],
            "ending": row["ending"] or "none of them", "answers (%)": _cell(row, "share", 1),
            "of which right (%)": _cell(row, "right", 1),
        }
        for row in told.to_dict("records")
    ]  # fmt: skip
    made.add(Section(
        "recipes", "Neighbouring recipes",
        "The mixture with X % Unknown examples, taught in another way (docs/study.md): sure_<X> says behind each answer"
        " whether it was known, patch_<X> ends every epoch with Known examples, replay_<X> has unrelated rows among its"
        f" facts, upweight_<X> repeats some. In brackets: {INTERVAL}s over seeds and questions.",
        [("", pd.DataFrame(rows)), ("what follows the answers", pd.DataFrame(endings))],
    ))  # fmt: skip


def _unknown_tests(evidence: Evidence, made: Tables) -> None:
    ranked = []
    for stop in STOPS:
        one, missing = unknown_tests.tested(evidence, stop)
        made.missing += [line for line in missing if line not in made.missing]
        if one is not None:
            made.tested[stop] = one
            ranked.append(unknown_tests.ranking(one).assign(stop=stop))
    table = pd.concat(ranked) if ranked else pd.DataFrame()
    made.files["f5_auroc"] = table
    rows = [
        {"measure": row["measure"], "stop": row["stop"], "AUROC (%)": _cell(row, "auroc", 1, "low", "high")}
        for row in table.to_dict("records")
    ]
    made.add(Section(
        "f5_auroc", "F5: which measure ranks best what is answered right after fine-tuning?",
        "AUROC: how often a test question that the model answers right after fine-tuning on D_Natural had a higher"
        f" score before it than one that it answers wrong; 50 % is chance. In brackets: {INTERVAL}s over seeds and"
        " questions.",
        [("", pd.DataFrame(rows))],
    ))  # fmt: skip


def _shift(evidence: Evidence, made: Tables) -> None:
    table = shift.summary(evidence.study)
    made.files |= {"shift_summary": table, "shift_matrices": shift.matrices(evidence.study)}
    rows = table.assign(cell=[_cell(row, "share", 1, "low", "high") for row in table.to_dict("records")])
    shown = rows.pivot_table(
        index=["variant", "split", "stop"], columns="measure", values="cell", aggfunc="first", sort=False
    )
    made.add(Section(
        "shift_summary", "Category shift: forgotten and gained",
        "The tuned models were annotated again by the same protocol. "
        + "; ".join(f"{name}: {what}" for name, what in shift.MEASURES.items())
        + f" (%). In brackets: {INTERVAL}s over seeds and questions.",
        [("", shown.reset_index().rename_axis(columns=None))],
    ))  # fmt: skip


def _explosions(evidence: Evidence, made: Tables) -> None:
    study = evidence.study
    table, beyond = explosions.exploding(study), explosions.excess(study)
    made.files |= {"exploding_answers": table, "excess_answers": beyond}
    first = table.groupby("variant", sort=False).head(explosions.MOST).drop(columns="split").round(1)
    shares = beyond.pivot_table(index="variant", columns="stop", values="excess", sort=False).round(1).reset_index()
    most = f"given {explosions.FACTOR:g} times as often as it is right at least, and {explosions.LEAST:g} times"
    made.add(Section(
        "explosions", "Answers that explode in frequency",
        "How many percent of the answers to the test questions go beyond as often as each is the gold answer of a"
        " question of its relation (0: every answer is given as often as it is right, to whichever question), and the"
        f" answers that explode at CONVERGENCE: {most} (mean over seeds; the first {explosions.MOST} of each variant)."
        " gold: how many questions it is right for; taught: how many training examples have it as their answer.",
        [("beyond the gold frequency (%)", shares.rename_axis(columns=None)), ("exploding answers", first)],
    ))  # fmt: skip


def _cell(row: dict, name: str, digits: int, low: str = "", high: str = "") -> str:
    """'7.3 [5.1, 9.5]'; without the brackets where there is no interval."""
    low, high = row[low or f"{name}_low"], row[high or f"{name}_high"]
    value = f"{row[name]:.{digits}f}"
    return value if pd.isna(low) else f"{value} [{low:.{digits}f}, {high:.{digits}f}]"
