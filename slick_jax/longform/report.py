"""The report of a long-form study: figures, tables, the direction test, and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from etils import epath

from slick_jax.analysis import page, verdicts
from slick_jax.files import run_folder
from slick_jax.longform import checks, direction, gallery, page_tables, score_tables
from slick_jax.longform.answers import GAMMA
from slick_jax.longform.arms import NAMES
from slick_jax.longform.scores import Scores


@dataclass(frozen=True)
class Study:
    """What the report is made of; tables that are empty are told to be missing.

    Attributes:
      answers: of `answers.per_answer`, of all arms, domains and seeds.
      training: of `arm_files.training_table`.
      belief: columns domain, source (gold, generated), scorer, claims, entities, measure (auroc, average_precision,
        ece, brier, believed, supported_believed, auroc_minus_<other scorer>, ...), value, low, high.
      reliability: a row per bin of belief: columns domain, source, scorer, claims, belief, precision_value,
        precision_low, precision_high.
      sentences: of the un-tuned model's texts: columns domain, parsed.
      method: what the reader must know, by name: how claims were made, what verified them, whose belief filters, the
        granularity and rule of the filter, the checkpoint. Fallbacks are named here.
      skipped: what was counted and not used: columns domain, what, n.
      flat: domains where the belief that filters is the same for all claims.
      alike: domains where all arms give the same answers, word for word.
      missing: sentences about arms, domains or seeds that are not there.
      scorer: whose belief filters; match, tolerance: of the length control; margin: of `direction.directions`.
    """

    name: str
    answers: pd.DataFrame
    training: pd.DataFrame = field(default_factory=pd.DataFrame)
    belief: pd.DataFrame = field(default_factory=pd.DataFrame)
    reliability: pd.DataFrame = field(default_factory=pd.DataFrame)
    sentences: pd.DataFrame | None = None
    method: Mapping[str, str] = field(default_factory=dict)
    skipped: pd.DataFrame = field(default_factory=pd.DataFrame)
    flat: Sequence[str] = ()
    alike: Sequence[str] = ()
    missing: Sequence[str] = ()
    config: Mapping = field(default_factory=dict)
    split: str = "test"
    scorer: str = "probe"
    match: str = "tokens"
    tolerance: float = 0.05
    margin: float = direction.MARGIN
    gamma: float = GAMMA


def write(folder: epath.PathLike, study: Study) -> epath.Path:
    """Write <folder>/report/index.html, direction.md, figures/*.png and tables/*.csv, print the verdicts; returns the
    path of the page."""
    folder = epath.Path(folder)
    scores = Scores(study.answers, study.split)
    found = direction.directions(
        scores, study.training, margin=study.margin, tolerance=study.tolerance,
        measure="tokens" if study.match == "none" else study.match,
    )  # fmt: skip
    tables = {
        "by_arm": score_tables.by_arm(scores), "differences": score_tables.differences(scores),
        "knowledge": score_tables.by_knowledge(scores), "transfer": score_tables.transfer(scores),
        "training": _ordered(study.training), "belief": study.belief, "skipped": study.skipped,
        "validity": checks.validity(scores, study.sentences, study.belief, study.scorer),
        "direction": verdicts.table(found),
    }  # fmt: skip
    drawn, undrawn = gallery.draw(tables, study.belief, study.reliability, study.scorer)
    missing = [*study.missing, *_absent(scores), *_ungrouped(scores), *undrawn]
    invalid = [*_flat(study), *_alike(study), *_invalid(tables["validity"])]
    images = {figure.file: figure.image for figure in drawn}
    for name in gallery.NEEDS:
        page.write_or_remove(folder / "figures" / f"{name}.png", images.get(name))
    numbers = {name: pd.DataFrame() for name in gallery.NEEDS} | {figure.file: figure.numbers for figure in drawn}
    page.write_tables(folder / "tables", numbers | tables)
    text = page.render(
        "longform.html",
        name=study.name, method=dict(study.method), directions=found, missing=missing, figures=drawn,
        validity=tables["validity"].to_dict("records"), invalid=invalid,
        arms=[(domain, page.cells(table)) for domain, table in page_tables.arms(scores, tables["by_arm"], study.gamma)],
        differences=page.cells(page_tables.pairs(tables["differences"])),
        training=page.cells(page_tables.training(tables["training"])),
        belief=page.cells(page_tables.belief(study.belief)), scorers=page.cells(page_tables.scorers(study.belief)),
        skipped=page.cells(study.skipped),
        entities={domain: len(rows) for domain, rows in scores.entities.items()}, split=study.split,
        config=page.as_json(dict(study.config)) if study.config else "", versions=page.versions("scikit-learn"),
    )  # fmt: skip
    path = run_folder.write_text(folder / "report" / "index.html", text)
    run_folder.write_text(folder / "direction.md", verdicts.markdown(found))
    _print(found, invalid, missing, path)
    return path


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Arms in the order of the study."""
    if table.empty:
        return table
    return table.sort_values("arm", key=lambda of: of.map(NAMES.index), kind="stable").sort_values(
        "domain", kind="stable", ignore_index=True
    )


def _absent(scores: Scores) -> list[str]:
    """Arms that a domain has no answers of."""
    lines = []
    for domain in scores.domains:
        arms = [arm for arm in NAMES if not scores.seeds(domain, arm)]
        if arms:
            lines.append(f"{domain}: no answers of {', '.join(arms)}")
    return lines


def _ungrouped(scores: Scores) -> list[str]:
    """Entities that the table by knowledge has no place for."""
    why = {"exposure": "theirs is not given", "precision of BASE": "BASE made no claim about them"}
    lines = []
    for domain in scores.domains:
        by, groups = score_tables.knowledge(scores, domain)
        if groups.isna().any():
            lines.append(
                f"{domain}: {groups.isna().sum():,} of {len(groups):,} entities are left out where they are grouped by"
                f" {by}, as {why[by]}"
            )
    return lines


def _flat(study: Study) -> list[str]:
    return [
        f"{domain}: {study.scorer} ranks claims of split dev no better than chance, so that its belief, which filters,"
        " is the same for all claims and +SELF is no choice of the model's"
        for domain in study.flat
    ]


def _alike(study: Study) -> list[str]:
    return [
        f"{domain}: all arms give the same answers, word for word: training was too short, or its rate too low, to tell"
        " them apart (train.epochs, train.peak_lr)"
        for domain in study.alike
    ]


def _invalid(validity: pd.DataFrame) -> list[str]:
    failed = validity[validity["passed"] == False]  # noqa: E712  (None is neither)
    return [
        f"{row.domain}: {row.check} {row.value:.1f} %, not within {row.least:g}-{row.most:g} %"
        for row in failed.itertuples()
    ]


def _print(
    found: Sequence[direction.Direction], invalid: Sequence[str], missing: Sequence[str], path: epath.Path
) -> None:
    lines = ["direction of the published results:"]
    for one in found:
        lines.append(f"  ({one.letter}) {one.claim}: {one.verdict}")
        lines += [f"      {effect.sentence}" for effect in one.effects]
    lines += ["", "not valid:", *(f"  {line}" for line in invalid)] if invalid else []
    lines += ["", "not in the report:", *(f"  {line}" for line in missing)] if missing else []
    print("\n".join([*lines, "", f"report: {path}"]))
