"""`slick report`: figures, tables and one self-contained HTML page, made of whatever runs are finished."""

from __future__ import annotations

import dataclasses
import json
import platform
from importlib import metadata

import jinja2
import pandas as pd
from etils import epath

from slick_jax import __version__, run_folder
from slick_jax.analysis import gallery, headline, regression, runs, tables
from slick_jax.config import Config
from slick_jax.errors import InputError

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "pandas", "statsmodels", "matplotlib")
TABLE_TITLES = {"T3": "train", "T4": "in-distribution test", "T5": "out-of-distribution test"}


def run(config: Config) -> epath.Path:
    """Write figures/*.png, tables/*.csv and report/index.html below `config.run_dir`; print the headlines.

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
    table_one, missing = regression.table_one(study)
    drawn = gallery.draw(study)
    counts = tables.all_categories(study.annotations) if study.annotations is not None else {}
    overview = headline.table(study) if study.runs else pd.DataFrame()
    said = headline.sentences(study, table_one)
    missing = [*study.missing, *missing, *gallery.undrawn(drawn)]

    for figure in drawn:
        run_folder.write_bytes(folder / "figures" / f"{figure.file}.png", figure.image)
        _write_csv(folder, figure.file, figure.numbers)
    for name, table in counts.items():
        _write_csv(folder, f"{name.lower()}_categories", table.reset_index())
    for name, table in (("t1_regression", table_one), ("runs", overview)):
        if not table.empty:
            _write_csv(folder, name, table)
    page = render(
        name=folder.name,
        sentences=said,
        missing=missing,
        overview=_cells(overview),
        legend=headline.LEGEND,
        table_one=_cells(table_one.round(2)),
        figures=drawn,
        counts={name: (TABLE_TITLES[name], _cells(table.reset_index())) for name, table in counts.items()},
        manifest=_json(study.manifest) if study.manifest else "",
        config=_json(dataclasses.asdict(config)),
        versions=versions(),
    )
    path = run_folder.write_text(folder / "report" / "index.html", page)
    _print(said, overview, missing, path)
    return path


def render(**values) -> str:
    """The page as HTML; every value is escaped, and a name that the template asks for and does not get is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slick_jax.analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(**values)


def versions() -> dict[str, str]:
    """Versions of what computed the results; 'not installed' for a package that is absent."""
    found = {"slick_jax": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _json(value) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _cells(table: pd.DataFrame) -> dict:
    """Column names and rows of text; a value that is not there is a dash."""
    rows = [["–" if pd.isna(value) else _text(value) for value in row] for row in table.itertuples(index=False)]
    return {"columns": list(table.columns), "rows": rows}


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _write_csv(folder: epath.Path, name: str, table: pd.DataFrame) -> None:
    run_folder.write_text(folder / "tables" / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))


def _print(said: list[str], overview: pd.DataFrame, missing: list[str], path: epath.Path) -> None:
    if not overview.empty:
        print(overview.to_string(index=False, na_rep="-"), f"\n({headline.LEGEND})\n", sep="\n")
    print("\n".join(said))
    if missing:
        print("\n".join(["", "not in the report:", *(f"  {line}" for line in missing)]))
    print(f"\nreport: {path}")
