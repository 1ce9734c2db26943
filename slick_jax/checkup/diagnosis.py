"""All that is found out about the rows, from their annotations and greedy answers: what advice and page are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from slick_jax.categories import CATEGORIES, CERTAINTY, UNKNOWN
from slick_jax.checkup import answers, groups
from slick_jax.checkup.intake import Intake
from slick_jax.checkup.shares import Share, share
from slick_jax.config import Config
from slick_jax.data.annotations import kept_answers
from slick_jax.data.examples import same_text
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge.saturation import saturation
from slick_jax.settings.doctor import DoctorConfig

GUESSABLE = 0.2  # share of a group's rows with one answer from which on guessing pays


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found.

    rows: an asked row each: id, question, answers, relation, group, category, greedy, exemplar (whether it stands in
    other rows' prompts), certainty (of its label) and the columns of annotations.parquet. shares: of every category.
    grouped: 'relation', 'cluster' or ''; table: of `groups.ranked`. saturated: of `knowledge.saturation`, None without
    samples. afresh: percent of every category expected with other exemplar sets and samples; where Unknown and
    WeaklyKnown cannot be told apart (annotate.mode='labels') they are left out. near, guessable, same, conflicting: of
    `answers`; lengths: see `_lengths`. chat: whether the model folder has a chat template.
    """

    intake: Intake
    rows: pd.DataFrame
    shares: Mapping[str, Share]
    grouped: str
    table: pd.DataFrame
    saturated: pd.DataFrame | None
    afresh: Mapping[str, float]
    near: pd.DataFrame
    guessable: pd.DataFrame
    same: Sequence[Sequence[str]]
    conflicting: Sequence[Sequence[str]]
    lengths: Mapping[str, float]
    chat: bool

    @property
    def unknown(self) -> Share:
        return self.shares[UNKNOWN]

    @property
    def known(self) -> Share:
        return Share(self.unknown.total - self.unknown.count, self.unknown.total)

    @property
    def last_steps(self) -> dict[str, float]:
        """Points that the last exemplar set and the last sample took out of Unknown; nothing without samples."""
        if self.saturated is None:
            return {}
        unknown = self.saturated.set_index(["n_exemplar_sets", "n_samples"])[UNKNOWN]
        sets, samples = unknown.index[-1]
        before = {"exemplar set": (max(sets - 1, 1), samples), "sample": (sets, samples - 1)}
        return {name: float(unknown[at] - unknown.iloc[-1]) for name, at in before.items()}

    @property
    def certainty(self) -> pd.DataFrame:
        """category, rows, certainty (mean probability that the label comes out again, percent), unsure (share of rows
        where another label is likelier than not, percent)."""
        found = [
            (name, len(of), 100 * of.mean(), 100 * (of < 0.5).mean())
            for name in CATEGORIES
            if len(of := self.rows.loc[self.rows["category"] == name, "certainty"].dropna())
        ]
        return pd.DataFrame(found, columns=["category", "rows", "certainty", "unsure"])

    def record(self) -> dict[str, Any]:
        """For summary.json."""
        intake = self.intake
        return {
            "rows": {
                "in the file": intake.lines, "asked": len(self.rows), "left out": len(intake.left_out),
                "behind data.limit": intake.beyond, "exemplars among those asked": int(self.rows["exemplar"].sum()),
            },
            "pooled_relations": list(intake.pooled),
            "categories": {name: found.record() for name, found in self.shares.items()},
            "Known": self.known.record(),
            "grouped_by": self.grouped,
            "groups": self.table.to_dict("records"),
            "saturation_last_steps": self.last_steps,
            "afresh": dict(self.afresh),
            "label_certainty": self.certainty.to_dict("records"),
            "near_misses": {kind: int((self.near["kind"] == kind).sum()) for kind in answers.KINDS},
            "guessable": self.guessable.to_dict("records"),
            "same_question": {"questions": len(self.same), "of other answers": len(self.conflicting)},
            "lengths": dict(self.lengths),
        }  # fmt: skip


def diagnose(config: Config, intake: Intake, table: pd.DataFrame, tokenizer: Tokenizer) -> Diagnosis:
    """Everything from `table`, the annotations of the run folder, and its kept answers."""
    doctor = config.doctor
    rows = table.merge(kept_answers(config.run_dir, ("greedy", "greedy_truncated")), on="id", validate="one_to_one")
    rows["relation"] = rows["id"].map(intake.relations)
    rows["exemplar"] = rows["id"].isin(_exemplars(intake))
    probabilities = rows[list(CERTAINTY.values())].astype(float)
    places = rows["category"].map(CATEGORIES.index).to_numpy()
    rows["certainty"] = probabilities.to_numpy()[np.arange(len(rows)), places]
    grouped, rows["group"] = _grouped(rows, doctor)
    sampled = rows["sampled_hits"].notna().all()
    questions = {row.id: same_text(row.question) for row in rows.itertuples()}
    same, conflicting = answers.repeated(questions, dict(zip(rows["id"], rows["answers"], strict=True)))
    means = probabilities.mean()
    return Diagnosis(
        intake, rows, {name: share(rows["category"] == name) for name in CATEGORIES}, grouped,
        groups.ranked(rows, doctor.least_rows) if grouped else groups.ranked(rows, len(rows) + 1),
        saturation(rows["greedy_hits"].tolist(), rows["sampled_hits"].tolist()) if sampled else None,
        {
            name: 100 * float(means[column])
            for name, column in CERTAINTY.items() if not np.isnan(means[column])
        },
        answers.near_misses(rows), answers.guessable(rows, doctor.least_rows, GUESSABLE), same, conflicting,
        _lengths(rows), tokenizer.chat_template is not None,
    )  # fmt: skip


def _exemplars(intake: Intake) -> set[str]:
    """Ids of all rows that another row was asked behind."""
    asked = intake.asked
    return {
        one.id
        for row, chosen in zip(asked.rows, asked.assigned, strict=True)
        for number in chosen
        for one in asked.sets[row.relation].get(number)
    }


def _grouped(rows: pd.DataFrame, doctor: DoctorConfig) -> tuple[str, Sequence[str]]:
    """How rows are grouped, and the group of each: by relation, and where there is one alone, or none that is large
    enough to be ranked, by cluster."""
    sizes = rows["relation"].value_counts()
    if len(sizes) > 1 and sizes.max() >= doctor.least_rows:
        return "relation", rows["relation"].tolist()
    found = groups.clusters(rows["question"].tolist(), doctor.clusters, doctor.seed)
    return ("cluster", found) if found else ("", rows["relation"].tolist())


def _lengths(rows: pd.DataFrame) -> dict[str, float]:
    """Words of the first gold answers and of the greedy answers (median), and shares in percent of the greedy answers
    that were cut at annotate.max_answer_tokens, abstained, or were empty."""
    texts = [text for of in rows["greedy"] for text in of]
    return {
        "gold_words": float(np.median(answers.words_of([golds[0] for golds in rows["answers"]]))),
        "answer_words": float(np.median(answers.words_of(texts))),
        "cut": 100 * float(np.mean([cut for of in rows["greedy_truncated"] for cut in of])),
        "abstained": 100 * float(rows["abstained_greedy"].mean()),
        "empty": 100 * float(np.mean([not text.strip() for text in texts])),
    }
