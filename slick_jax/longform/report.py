"""The report of a long-form study: figures, tables, the direction test, and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from etils import epath

from slick_jax import run_folder
from slick_jax.analysis import page, verdicts
from slick_jax.longform import checks, direction, gallery, score_tables
from slick_jax.longform.answers import GAMMA
from slick_jax.longform.arms import BASE, NAMES
from slick_jax.longform.scores import METRICS, Scores

SHOWN = ("precision", "parsed", "precision_micro", "factscore", "supported", "unsupported", "tokens", "abstained")
PAIRS = (("GEN+SELF", "GOLD"), ("GEN+SELF", "GEN+GOLD"), ("GEN+SELF", "GOLD+SELF"), ("GEN+SELF", "GEN+RANDOM"),
         ("GOLD+SELF", "GOLD"), ("GOLD+SELF", "GOLD+RANDOM"), ("GEN+SELF", BASE), ("GOLD", BASE))  # fmt: skip


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
    invalid = [*_flat(study), *_invalid(tables["validity"])]
    images = {figure.file: figure.image for figure in drawn}
    for name in gallery.NEEDS:
        page.write_or_remove(folder / "figures" / f"{name}.png", images.get(name))
    numbers = {name: pd.DataFrame() for name in gallery.NEEDS} | {figure.file: figure.numbers for figure in drawn}
    page.write_tables(folder / "tables", numbers | tables)
    text = page.render(
        "longform.html",
        name=study.name, method=dict(study.method), directions=found, missing=missing, figures=drawn,
        validity=tables["validity"].to_dict("records"), invalid=invalid,
        arms=[(domain, page.cells(table)) for domain, table in _arms(scores, tables["by_arm"], study.gamma)],
        differences=page.cells(_pairs(tables["differences"])), training=page.cells(_training(tables["training"])),
        belief=page.cells(_belief(study.belief)), scorers=page.cells(_scorers(study.belief)),
        skipped=page.cells(study.skipped),
        entities={domain: len(rows) for domain, rows in scores.entities.items()}, split=study.split,
        config=page.as_json(dict(study.config)) if study.config else "", versions=page.versions("scikit-learn"),
    )  # fmt: skip
    path = run_folder.write_text(folder / "report" / "index.html", text)
    run_folder.write_text(folder / "direction.md", verdicts.markdown(found))
    _print(found, invalid, missing, path)
    return path


def _cell(value: float, low: float, high: float, digits: int = 1) -> str:
    """'71.3 [69.0, 73.5]'; without the brackets where there is no interval."""
    if pd.isna(value):
        return "–"
    return f"{value:.{digits}f}" + ("" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")


def _arms(scores: Scores, table: pd.DataFrame, gamma: float) -> list[tuple[str, pd.DataFrame]]:
    """For the page: a table per domain, arms down and metrics across."""
    made = []
    for domain in scores.domains:
        rows = []
        for arm in scores.arms:
            own = table[(table["domain"] == domain) & (table["arm"] == arm)].set_index("metric")
            if own.empty:
                continue
            row = {"arm": arm, "seeds": int(own["seeds"].iloc[0]) if arm != BASE else "–"}
            for metric in (one for one in SHOWN if one in own.index):
                one, values = METRICS[metric], own.loc[metric]
                unit = f" ({one.unit})" if one.unit == "%" else ""
                head = one.what.format(gamma=gamma) + unit
                row[head] = _cell(values["value"], values["low"], values["high"])
            rows.append(row)
        made.append((domain, pd.DataFrame(rows)))
    return made


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    """For the page: the comparisons that the study is about."""
    if table.empty:
        return table
    turned = table.rename(columns={"one": "other", "other": "one", "low": "high", "high": "low"})
    turned[["value", "low", "high"]] *= -1
    both = pd.concat([table, turned])
    rows = []
    for one, other in PAIRS:
        of = both[(both["one"] == one) & (both["other"] == other)]
        for domain, own in of.groupby("domain", sort=False):
            row = {"comparison": f"{one} minus {other}", "domain": domain}
            for values in own.to_dict("records"):
                head = METRICS[values["metric"]].what.split(", gamma")[0] + " (points)"
                row[head] = _cell(values["value"], values["low"], values["high"])
            rows.append(row)
    return pd.DataFrame(rows)


def _training(table: pd.DataFrame) -> pd.DataFrame:
    """For the page: how much each arm was trained on, and what its filter kept."""
    names = {
        "domain": "domain", "arm": "arm", "texts": "texts", "tokens": "tokens", "tokens_per_text": "tokens per text",
        "claims_per_text": "claims per text",
        "percent_claims_kept_of_source": "claims kept by the filter, of all texts (%)",
        "percent_claims_kept": "of the texts trained on (%)", "percent_supported": "of those supported (%)",
        "mean_belief": "mean belief", "percent_claims_trained_on": "claims left when arms are equally long (%)",
    }  # fmt: skip
    return table[[name for name in names if name in table]].rename(columns=names).round(2)


def _belief(table: pd.DataFrame) -> pd.DataFrame:
    """For the page: measures across, a row per domain, source and scorer."""
    names = {"auroc": "AUROC", "average_precision": "average precision", "ece": "ECE", "brier": "Brier",
             "believed": "believed", "precision_of_believed": "supported, of the believed",
             "supported_disbelieved": "true and not believed"}  # fmt: skip
    own = table[table["measure"].isin(names)] if len(table) else table
    if own.empty:
        return pd.DataFrame()
    cells = [_cell(row.value, row.low, row.high, 3) for row in own.itertuples()]
    wide = own.assign(cell=cells).pivot_table(
        index=["domain", "source", "scorer", "claims", "entities"], columns="measure", values="cell", aggfunc="first",
        sort=False,
    )  # fmt: skip
    wide = wide[[name for name in names if name in wide]].rename(columns=names)
    return wide.reset_index().rename_axis(columns=None)


def _scorers(table: pd.DataFrame) -> pd.DataFrame:
    """For the page: which scorer ranks claims better, paired over entities."""
    found = table["measure"].str.extract(r"auroc_minus_(.*)", expand=False) if len(table) else pd.Series()
    own = table[found.notna()] if len(table) else table
    rows = [
        {"domain": row.domain, "source": row.source, "AUROC of": row.scorer, "minus that of": found[row.Index],
         "difference": _cell(row.value, row.low, row.high, 3)}
        for row in own.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows)


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
    lines = []
    for domain in scores.domains:
        by, groups = score_tables.knowledge(scores, domain)
        if groups.isna().any():
            lines.append(
                f"{domain}: {groups.isna().sum():,} of {len(groups):,} entities are left out where they are grouped by"
                f" {by}, as BASE made no claim about them"
            )
    return lines


def _flat(study: Study) -> list[str]:
    return [
        f"{domain}: {study.scorer} ranks claims of split dev no better than chance, so that its belief, which filters,"
        " is the same for all claims and +SELF is no choice of the model's"
        for domain in study.flat
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
