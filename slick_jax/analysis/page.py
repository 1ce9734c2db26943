"""What report pages share: rendering, tables as text, the versions that computed them, and the files beside them."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata

import jinja2
import pandas as pd
from etils import epath

from slick_jax import __version__
from slick_jax.files import csv_text, run_folder

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "pandas", "statsmodels", "matplotlib")
FORBIDDEN = "base-uri 'none'; form-action 'none'"  # which default-src does not cover


def render(template: str, **values) -> str:
    """A page of templates/ as HTML; every value is escaped, and a name that the template asks for and does not get is
    an error.

    The page's policy lets browsers load nothing, and run and obey only the script and the style that are in templates/:
    what a name or an answer smuggled in past the escaping would still be dead text.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slick_jax.analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (_hash(environment.get_template(name).render()) for name in ("page.js", "page.css"))
    policy = f"default-src 'none'; img-src data:; script-src {script}; style-src {style}; {FORBIDDEN}"
    return environment.get_template(template).render(**values, policy=policy)


def versions(*more: str) -> dict[str, str]:
    """Versions of what computed the results; 'not installed' for a package that is absent."""
    found = {"slick_jax": __version__, "Python": platform.python_version()}
    for name in (*PACKAGES, *more):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def as_json(value) -> str:
    """Indented, for a page."""
    return json.dumps(value, indent=1, ensure_ascii=False)


def cells(table: pd.DataFrame) -> dict:
    """Column names and rows of text; a value that is not there is a dash."""
    rows = [["–" if pd.isna(value) else _text(value) for value in row] for row in table.itertuples(index=False)]
    return {"columns": list(table.columns), "rows": rows}


def write_tables(folder: epath.Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """<folder>/<name>.csv of each; the file of an empty one, which an earlier report may have written, is removed."""
    for name, table in tables.items():
        text = None if table.empty else csv_text.of(table).encode()
        write_or_remove(folder / f"{name}.csv", text)


def write_or_remove(path: epath.Path, content: bytes | None) -> None:
    """The file with this content, or no such file where there is none."""
    if content is not None:
        run_folder.write_bytes(path, content)
    elif path.exists():
        path.unlink()


def _hash(text: str) -> str:
    """As a Content-Security-Policy names a text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _text(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
