"""What the doctor found as one self-contained page, as files beside it, and in a few lines for the terminal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from slick_jax.analysis import annotation_gallery, examples, page
from slick_jax.analysis.runs import Study
from slick_jax.analysis.shown import Shown
from slick_jax.analysis.summary import Tile
from slick_jax.categories import CATEGORIES, UNKNOWN
from slick_jax.checkup.advice import Advice, markdown
from slick_jax.checkup.diagnosis import Diagnosis
from slick_jax.checkup.treated import Treatment
from slick_jax.config import Config
from slick_jax.files import run_folder

SHOWN_LEFT_OUT = 20  # rows that the page names; left_out.jsonl has all
SHOWN_GROUPS = 40


def write(
    folder: epath.Path, config: Config, found: Diagnosis, advice: Sequence[Advice], made: Mapping[str, Treatment]
) -> epath.Path:
    """index.html, summary.json, advice.md, left_out.jsonl, figures/ and tables/; the path of the page.

    Equal findings are equal files.
    """
    study = Study({}, found.rows.assign(relation=found.rows["group"]), (), (), saturation=found.saturated)
    drawn = [figure for figure in annotation_gallery.draw(study) if figure is not None]
    asked = examples.table(study, found.rows)
    tables = {"groups": found.table, "near_misses": found.near, "guessable": found.guessable,
              "examples": examples.as_text(asked)}  # fmt: skip
    _write_figures(folder, drawn)
    page.write_tables(folder / "tables", {figure.file: figure.numbers for figure in drawn} | tables)
    summary = found.record() | {
        "advice": [dataclasses.asdict(one) for one in advice],
        "data": {name: {"rows": len(one.rows), "what": one.told} for name, one in made.items()},
    }
    run_folder.write_text(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    run_folder.write_text(folder / "advice.md", markdown(advice))
    _write_left_out(folder / "left_out.jsonl", found)
    text = page.render(
        "doctor.html",
        name=epath.Path(config.data.path).name,
        model=config.model.source or config.model.path,
        tiles=_tiles(found),
        sentences=list(sentences(found)),
        advice=advice,
        data=data_sets(made),
        told=grouping(found, config.doctor.least_rows),
        groups=page.cells(_as_printed(found)),
        figures=drawn,
        left_out=_left_out(found),
        examples=examples.pack(asked, len(found.rows)),
        config=page.as_json(dataclasses.asdict(config)),
        versions=page.versions("scikit-learn"),
    )
    return run_folder.write_text(folder / "index.html", text)


def grouping(found: Diagnosis, least_rows: int) -> str:
    """What the ranked groups are, and why."""
    sizes = found.rows["relation"].value_counts()
    if found.grouped == "relation":
        small = int((sizes < least_rows).sum())
        told = f" {small} relation{'s' * (small > 1)} of fewer than {least_rows} rows (doctor.least_rows) cannot be."
        return "Relations of the rows are ranked." + told * bool(small)
    why = "The data has one relation" if len(sizes) == 1 else (
        f"None of the {len(sizes)} relations has {least_rows} rows (doctor.least_rows)"
    )  # fmt: skip
    return (
        f"{why}, so that the questions were clustered by their words (k-means on TF-IDF); a cluster is called by the"
        " words it has most of."
    )


def data_sets(made: Mapping[str, Treatment]) -> list[tuple[str, int, str]]:
    """Name, rows and what it is of every data set that is written."""
    return [(name, len(one.rows), one.told) for name, one in made.items() if one.rows]


def sentences(found: Diagnosis) -> Iterator[str]:
    """What was found, in words with numbers."""
    intake, n = found.intake, len(found.rows)
    kept = f"Of {intake.lines:,} rows {n:,} were asked"
    kept += f", {len(intake.left_out):,} could not be" * bool(intake.left_out)
    kept += f", {intake.beyond:,} are behind data.limit" * bool(intake.beyond)
    yield f"{kept}; {int(found.rows['exemplar'].sum()):,} of them stand as exemplars in the prompts of others."
    parts = ", ".join(f"{share} {name}" for name, share in found.shares.items())
    yield f"{parts}; in brackets 95 % intervals (Wilson), for rows like these."
    if len(found.table) > 1:
        worst, best = found.table.iloc[0], found.table.iloc[-1]
        clear = (found.table["against"] != "").any()
        yield (
            f"Most is Unknown of {found.grouped} {worst['group']!r} ({worst[UNKNOWN]:.0f} %, {worst['low']:.0f} to"
            f" {worst['high']:.0f}), least of {best['group']!r} ({best[UNKNOWN]:.0f} %)"
            + ("." if clear else f"; no {found.grouped} stands out clearly from the rest.")
        )
    if found.last_steps:
        steps = " and ".join(f"the last {name} took out {points:.1f}" for name, points in found.last_steps.items())
        yield (
            f"The more draws, the fewer rows are Unknown: {steps} points. Drawn afresh, {_afresh(found)} would be"
            " expected."
        )


def _afresh(found: Diagnosis) -> str:
    return f"{found.afresh[UNKNOWN]:.1f} % Unknown"


def lines(found: Diagnosis, advice: Sequence[Advice], made: Mapping[str, Treatment], folder: str) -> Iterator[str]:
    """For the terminal: under 30 lines, whatever was found."""
    intake = found.intake
    yield f"{intake.lines:,} rows, {len(found.rows):,} asked" + (
        f", {len(intake.left_out):,} left out ({folder}/left_out.jsonl)" if intake.left_out else ""
    )
    for name in CATEGORIES:
        yield f"  {name:<12} {found.shares[name].count:>7,}   {found.shares[name]}"
    for one in found.table[found.table["against"] == "more"].head(3).itertuples():
        yield f"  worse than the rest: {found.grouped} {one.group!r}, {one.Unknown:.0f} % Unknown of {one.rows:,} rows"
    yield "what to do (in brackets the rule; advice.md has the reasons and commands)"
    for number, one in enumerate(advice[:10], 1):
        yield f"  {number} {one.title} [{one.rule}]"
    if len(advice) > 10:
        yield f"  and {len(advice) - 10} more"
    names = [f"{name} ({rows:,})" for name, rows, _ in data_sets(made)]
    yield f"data sets, .jsonl and .parquet in {folder}/data: {', '.join(names)}"
    yield f"page: {folder}/index.html"


def _tiles(found: Diagnosis) -> list[Tile]:
    unknown, highly = found.unknown, found.shares["HighlyKnown"]
    bounds = f"95 % [{100 * unknown.low:.0f}, {100 * unknown.high:.0f}]"
    told = f"of {unknown.total:,} rows are Unknown to the model, {bounds}"
    tiles = [
        Tile(f"{100 * unknown.value:.0f} %", told),
        Tile(f"{100 * found.known.value:.0f} %", "are Known, in one of three degrees"),
        Tile(f"{100 * highly.value:.0f} %", "are HighlyKnown: right behind every set of exemplars"),
    ]
    if len(found.near):
        tiles.append(Tile(f"{len(found.near):,}", "rows are missed nearly: look at them before you call them Unknown"))
    return tiles


def _as_printed(found: Diagnosis) -> pd.DataFrame:
    table = found.table.head(SHOWN_GROUPS)
    shown = {found.grouped or "group": table["group"], "rows": table["rows"]}
    shown |= {f"{name} (%)": table[name].round(1) for name in CATEGORIES}
    bounds = zip(table["low"], table["high"], strict=True)
    shown["Unknown, 95 %"] = [f"{low:.0f} to {high:.0f}" for low, high in bounds]
    shown |= {"than the rest": table["against"]}
    return pd.DataFrame(shown | ({"such as": table["example"]} if found.grouped == "cluster" else {}))


def _left_out(found: Diagnosis) -> list[str]:
    listed = [f"{one.place}: {one.why}" for one in found.intake.left_out[:SHOWN_LEFT_OUT]]
    more = len(found.intake.left_out) - len(listed)
    return listed + [f"and {more:,} more, in left_out.jsonl"] * (more > 0)


def _write_left_out(path: epath.Path, found: Diagnosis) -> None:
    def line(one: Any) -> str:
        return json.dumps({"place": one.place, "why": one.why, "row": one.row}, default=str) + "\n"

    text = "".join(line(one) for one in found.intake.left_out)
    page.write_or_remove(path, text.encode() if text else None)


def _write_figures(folder: epath.Path, drawn: Sequence[Shown]) -> None:
    figures = dict.fromkeys(annotation_gallery.NEEDS) | {figure.file: figure.image for figure in drawn}
    for name, image in figures.items():
        page.write_or_remove(folder / "figures" / f"{name}.png", image)
