"""The figures of the long-form report, each with the caption that says how to read it."""

from __future__ import annotations

import pandas as pd

from slick_jax.analysis.shown import Shown, shown
from slick_jax.longform import figures

LEAST = 10  # claims of a bin of belief that is drawn
INTERVALS = " Bars are 95 % intervals over entities and training seeds."
NEEDS = {  # what each figure takes, by its file name
    "precision": "precision by arm: no answers",
    "volume": "claims per answer: no answers",
    "knowledge": "precision by how well entities are known: no exposure and no answers of BASE",
    "transfer": "transfer between domains: no arm was asked about a domain that it was not trained on",
    "reliability": "reliability diagram: no bin of belief has 10 generated claims",
    "supported_believed": "supported x believed: no measures of belief",
}


def draw(
    tables: dict[str, pd.DataFrame], belief: pd.DataFrame, reliability: pd.DataFrame, scorer: str
) -> tuple[list[Shown], list[str]]:
    """Every figure that the tables allow, in the order of the page, and a sentence for every other one.

    Args:
      tables: by_arm, knowledge and transfer of `score_tables`.
      belief: columns domain, source, scorer, measure, value, low, high.
      reliability: columns domain, source, scorer, claims, belief, precision_value, precision_low, precision_high.
      scorer: whose belief filters.
    """
    drawn = [
        _precision(tables["by_arm"]), _volume(tables["by_arm"]), _knowledge(tables["knowledge"]),
        _transfer(tables["transfer"]), _reliability(reliability), _crossed(belief, scorer),
    ]  # fmt: skip
    there = [figure for figure in drawn if figure is not None]
    return there, [reason for name, reason in NEEDS.items() if name not in {figure.file for figure in there}]


def _precision(table: pd.DataFrame) -> Shown | None:
    if table.empty:
        return None
    return shown(
        "precision", "Precision by arm",
        "The share of an answer's claims that the reference supports, mean over the answers that make a claim, about"
        " entities that no model was trained on. Each arm answers about the domain that it was trained on. The dotted"
        f" line is BASE, the model before fine-tuning.{INTERVALS} Arms answer about the same entities, so that two of"
        " them may differ although their intervals overlap: see the differences below.",
        figures.by_arm_figure(table), table,
    )  # fmt: skip


def _volume(table: pd.DataFrame) -> Shown | None:
    if table.empty:
        return None
    return shown(
        "volume", "What answers say: supported against unsupported claims",
        "A model that says less looks more factual. To the right: more true claims per answer; upwards: more false"
        " ones. Along a grey line precision over all claims is the same, and answers get longer away from the origin."
        f"{INTERVALS}",
        figures.volume_figure(table), table[table["metric"].isin(["supported", "unsupported", "claims", "tokens"])],
    )  # fmt: skip


def _knowledge(table: pd.DataFrame) -> Shown | None:
    if table.empty:
        return None
    return shown(
        "knowledge", "Precision by how well the model may know the entity",
        "Groups of test entities, the least known on the left: by how often the pretraining corpus told their facts,"
        " or, where that is not known, by the precision of BASE's own answers (which flatters BASE on the right and"
        f" blames it on the left).{INTERVALS}",
        figures.knowledge_figure(table), table,
    )  # fmt: skip


def _transfer(table: pd.DataFrame) -> Shown | None:
    if table.empty or not ((table["trained_on"] != "") & (table["trained_on"] != table["domain"])).any():
        return None
    return shown(
        "transfer", "Transfer: trained on one domain, tested on another",
        "Numbers are the precision of an answer (%), bold where an arm is tested on its own domain; stronger is higher,"
        " on one scale for all panels. BASE is not tuned.",
        figures.transfer_figure(table), table,
    )  # fmt: skip


def _reliability(table: pd.DataFrame) -> Shown | None:
    own = table[(table["source"] == "generated") & (table["claims"] >= LEAST)] if len(table) else table
    if own.empty:
        return None
    return shown(
        "reliability", "Reliability: is what the model believes true as often as it believes it?",
        "Claims of the un-tuned model's own texts in equally wide bins of belief, calibrated on split dev: on the"
        " dotted diagonal belief is right on average; below it the model believes too much. Bars are 95 % intervals"
        f" over entities; bins of fewer than {LEAST} claims are left out.",
        figures.reliability_figure(own), table,
    )  # fmt: skip


def _crossed(table: pd.DataFrame, scorer: str) -> Shown | None:
    own = table[table["scorer"] == scorer] if len(table) else table
    if own.empty or not own["measure"].isin(figures.CELLS).any():
        return None
    return shown(
        "supported_believed", f"Supported x believed ({scorer})",
        "A bar is all claims of a source. Full colour: believed; hatched: not believed. What GEN+SELF is taught are the"
        " believed parts of generated text; what GOLD teaches beyond belief is true and not believed.",
        figures.cross_figure(own), own[own["measure"].isin(figures.CELLS)],
    )  # fmt: skip
