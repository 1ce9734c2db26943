"""`slick report`: figures, tables and one self-contained HTML page, made of whatever runs are finished."""

from __future__ import annotations

import dataclasses

import pandas as pd
from etils import epath

from slick_jax.analysis import (
    evidence,
    examples,
    findings,
    gallery,
    headline,
    page,
    runs,
    sections,
    summary,
    tables,
    two_stages,
    verdicts,
)
from slick_jax.config import Config
from slick_jax.data.annotations import kept_answers
from slick_jax.errors import InputError
from slick_jax.files import run_folder

TABLE_TITLES = {"T3": "train", "T4": "in-distribution test", "T5": "out-of-distribution test"}


def run(config: Config) -> epath.Path:
    """Write figures/*.png, tables/*.csv, report/index.html and findings.md below `config.run_dir`; print the headlines.

    Returns the path of the page. Raises InputError when run_dir is not set or holds neither annotations nor runs.
    """
    if not config.run_dir:
        raise InputError("config.run_dir: not set; name the folder of the study")
    folder = epath.Path(config.run_dir)
    study = runs.read_study(folder, config.study.variants, config.study.seeds, config.mix.rule)
    if study.annotations is None and not study.runs:
        raise InputError(
            f"config.run_dir: {folder} holds neither annotations.parquet nor a finished run below train/;"
            " run `slick annotate`, `slick mix` and `slick study` first"
        )
    gathered = evidence.gather(study)
    computed = sections.compute(gathered)
    table_one = computed.files["t1_regression"]
    nine = findings.nine(gathered, table_one)
    tested = computed.tested.get("EARLY_STOP")
    drawn, undrawn = gallery.draw(gathered, table_one, computed.files["t2_single_categories"], tested)
    answers = kept_answers(folder, ("greedy",))
    asked = examples.table(study, answers) if study.annotations is not None else None
    counts = tables.all_categories(study.annotations) if study.annotations is not None else {}
    stages = two_stages.read(folder)
    computed.add(sections.Section("gradual", two_stages.TITLE, two_stages.TEXT, [("", two_stages.as_printed(stages))]))
    overview = headline.table(study.runs) if study.runs else pd.DataFrame()
    others = headline.table(run for run, _ in study.others) if study.others else pd.DataFrame()
    others["differs in"] = [difference for _, difference in study.others]
    said = [*summary.sentences(study), *headline.sentences(study, table_one)]
    named = {line.split(":")[0] for line in computed.missing}
    missing = [*study.missing, *computed.missing, *(line for line in undrawn if line.split(":")[0] not in named)]

    made = {"findings": verdicts.table(nine), **computed.files, "runs": overview, "other_runs": others}
    made |= {f"{name.lower()}_categories": table.reset_index() for name, table in counts.items()}
    made |= {"gradual": stages, "examples": examples.as_text(asked) if asked is not None else pd.DataFrame()}
    _write(folder, drawn, made)
    text = page.render(
        "report.html",
        name=folder.name,
        trained=bool(study.runs),
        tiles=summary.tiles(study, nine),
        sentences=said,
        missing=missing,
        commands=summary.commands(study, str(folder), answers is not None),
        overview=page.cells(overview),
        others=page.cells(others),
        legend=headline.LEGEND,
        findings=nine if study.runs else [],
        sections=[(part, [(head, page.cells(table)) for head, table in part.tables]) for part in computed.shown],
        figures=drawn,
        counts={name: (TABLE_TITLES[name], page.cells(table.reset_index())) for name, table in counts.items()},
        examples=examples.pack(asked, len(study.annotations)) if asked is not None and len(asked) else None,
        answers=answers is not None,
        most=examples.MOST,
        manifest=page.as_json(study.manifest) if study.manifest else "",
        annotated=_annotated(folder),
        config=page.as_json(dataclasses.asdict(config)),
        versions=page.versions(),
    )
    path = run_folder.write_text(folder / "report" / "index.html", text)
    run_folder.write_text(folder / "findings.md", verdicts.markdown(nine))
    _print(nine, said, overview, missing, path)
    return path


def _annotated(folder: epath.Path) -> str:
    """How the annotations were made: settings, protocol and versions, as `slick annotate` recorded them."""
    found = run_folder.read_object(folder / "config.json")
    return page.as_json(found) if found else ""


def _write(folder: epath.Path, drawn: list[gallery.Shown], made: dict[str, pd.DataFrame]) -> None:
    """figures/*.png and tables/*.csv. What an earlier report made of runs that are no longer shown is removed."""
    figures = dict.fromkeys(gallery.NEEDS) | {figure.file: figure for figure in drawn}
    for name, figure in figures.items():
        page.write_or_remove(folder / "figures" / f"{name}.png", figure.image if figure else None)
    numbers = {name: figure.numbers if figure else pd.DataFrame() for name, figure in figures.items()}
    page.write_tables(folder / "tables", numbers | made)


def _print(
    nine: list[verdicts.Finding], said: list[str], overview: pd.DataFrame, missing: list[str], path: epath.Path
) -> None:
    if not overview.empty:
        shown = overview.astype(object).where(overview.notna(), "-")
        print(shown.to_string(index=False), f"\n({headline.LEGEND})\n", sep="\n")
    print("\n".join(said))
    if not overview.empty:
        lines = [f"  ({one.letter}) {one.claim}: {one.verdict}" for one in nine]
        print("\n".join(["", "findings of the paper:", *lines]))
    if missing:
        print("\n".join(["", "not in the report:", *(f"  {line}" for line in missing)]))
    print(f"\nreport: {path}")
