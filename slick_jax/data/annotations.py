"""Reads the annotations of a run folder back, checked: whole, of one protocol, of this config, of this data."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from slick_jax.categories import CATEGORIES
from slick_jax.config import BESIDE_LABELS, SHAPES, Config
from slick_jax.data.examples import POOLED, Example, raise_problems
from slick_jax.data.mixtures import Annotated
from slick_jax.errors import InputError
from slick_jax.files import run_folder

NAME = "annotations.parquet"  # in the run folder
AGAIN = "run `slick annotate` again"


@dataclasses.dataclass(frozen=True)
class Annotations:
    """The annotated rows of one split, and what they hang on.

    protocol: the protocol hash; model: fingerprint of the model that was asked, None where its record was removed;
    exemplars: (id, question) of all exemplars of the run.
    """

    rows: tuple[Annotated, ...]
    protocol: str
    model: str | None
    exemplars: tuple[tuple[str, str], ...]


def path(config: Config) -> epath.Path:
    """Where `slick annotate` puts the annotations of this run."""
    return epath.Path(config.run_dir) / NAME


def read_table(run_dir: epath.PathLike) -> pa.Table:
    """Every column of the annotations of a run folder, a row per example in the data's order (docs/annotations.md).

    Raises InputError where they are missing or damaged.
    """
    file = epath.Path(run_dir) / NAME
    if not file.exists():
        raise InputError(f"{file}: no such file; run `slick annotate` with this run_dir first, to its end")
    return run_folder.read_parquet(file)


def read(config: Config) -> Annotations:
    """The annotations in `config.run_dir` of split `config.mix.split`, with the categories of rule `config.mix.rule`.

    Raises InputError where they are missing or damaged, of several protocols, or of other settings than the config's.
    """
    category = f"{config.mix.rule}category"
    with run_folder.explained(path(config), AGAIN):
        found, protocol, model = _checked(config, ("id", "split", "relation", "question", "answers", category))
    splits = pc.unique(found["split"]).to_pylist()
    rows = found.filter(pc.equal(found["split"], config.mix.split)).to_pylist()
    if not rows:
        raise InputError(
            f"config.mix.split: {config.mix.split!r} is not annotated; {path(config)} has {', '.join(splits)}"
        )
    texts = ("id", "relation", "question")
    whole = [all(map(row.get, texts)) and row["answers"] and row["answers"][0] for row in rows]
    bad = [row["id"] for row, fine in zip(rows, whole, strict=True) if not fine or row[category] not in CATEGORIES]
    bad += [name for name, n in Counter(row["id"] for row in rows).items() if n > 1]
    if bad:
        raise InputError(
            f"{path(config)}: {len(bad)} rows without a category, question or answer, or with an id of another row,"
            f" such as {bad[0]!r}; the file is damaged, run `slick annotate` again"
        )
    annotated = tuple(
        Annotated(row["id"], row["relation"], row[category], row["question"], row["answers"][0]) for row in rows
    )
    return Annotations(annotated, protocol, model, _exemplars(path(config).parent))


def categories(config: Config) -> tuple[dict[str, tuple[str, str]], str | None]:
    """{id: (question, category of rule `config.mix.rule`)} of every annotated row, and the model that was asked.

    Nothing where there is no run folder or no annotation yet. Raises InputError as `read` does.
    """
    if not config.run_dir or not path(config).exists():
        return {}, None
    columns = ("id", "question", f"{config.mix.rule}category")
    with run_folder.explained(path(config), AGAIN):
        found, _, model = _checked(config, columns)
    return {one: (q, c) for one, q, c in zip(*(found[name].to_pylist() for name in columns), strict=True)}, model


def _checked(config: Config, columns: Sequence[str]) -> tuple[pa.Table, str, str | None]:
    """Those columns of annotations.parquet, its one protocol, and the fingerprint of the model that was asked."""
    found = read_table(config.run_dir)
    absent = [name for name in (*columns, "protocol") if name not in found.column_names]
    if absent:
        raise InputError(f"{path(config)}: without column {', '.join(absent)}; run `slick annotate` again")
    for name in (*columns, "protocol"):
        kind = found.schema.field(name).type
        if not _is_text(kind.value_type if name == "answers" and pa.types.is_list(kind) else kind):
            raise InputError(f"{path(config)}: column {name} holds {kind}, no text; run `slick annotate` again")
    protocol = _protocol(path(config), pc.unique(found["protocol"]).to_pylist(), config)
    manifest = run_folder.read_object(path(config).parent / "annotations" / "manifest.json") or {}
    model = manifest.get("protocol", {}).get("model") if manifest.get("hash") == protocol else None
    return found.select(columns), protocol, model


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def kept_answers(run_dir: epath.PathLike, columns: Sequence[str]) -> pd.DataFrame | None:
    """The ids and these columns of samples/, the answers that `annotate.answers` kept; None where it kept none.

    Only these are read: with 16 samples behind ten exemplar sets the rest is 170 texts a row. Raises InputError on a
    damaged file.
    """
    folder, wanted = epath.Path(run_dir) / "samples", ["id", *columns]
    parts = sorted(folder.glob("part-*.parquet")) if folder.exists() else []
    read = []
    for part in parts:
        with run_folder.explained(part, "remove samples/ and annotate again"):
            read.append(run_folder.read_columns(part, wanted).select(wanted).to_pandas())
    return pd.concat(read, ignore_index=True).drop_duplicates("id") if read else None


def check_data(found: Annotations, splits: dict[str, list[Example]], split: str) -> None:
    """Raises InputError when an annotated row is not, with these very words, in the data that the config names; rows
    that `slick doctor` pooled are annotated under another relation."""
    given = {e.id: e for e in splits.get(split, ())}
    raise_problems(
        [
            f"config.data: row {row.id!r} of annotations.parquet {'differs' if row.id in given else 'is not there'};"
            " give the data that was annotated, or annotate this data with another run_dir"
            for row in found.rows
            if row.id not in given or not _same(row, given[row.id])
        ]
    )


def _same(row: Annotated, given: Example) -> bool:
    words = row.question == given.question and row.answer == given.answers[0]
    return words and row.relation in (given.relation, POOLED)


def _protocol(path: epath.Path, hashes: list[str | None], config: Config) -> str:
    """The one protocol of the rows, which must be that of the run and, as far as it shows, of the config."""
    if len(hashes) != 1 or not hashes[0]:
        raise InputError(f"{path}: its rows are of {len(hashes)} protocols; run `slick annotate` again")
    record = run_folder.read_object(path.parent / "config.json") or {}
    if record.get("protocol", hashes[0]) != hashes[0]:
        raise InputError(
            f"{path}: annotations of another protocol than that of config.json beside it; run `slick annotate` again"
        )
    before = record.get("config", {}).get("annotate", {})
    now = json.loads(json.dumps(dataclasses.asdict(config.annotate)))
    decisive = [name for name in now if name in before and name not in (*BESIDE_LABELS, *SHAPES)]
    changed = [name for name in decisive if now[name] != before[name]]
    if changed:
        raise InputError.of(
            [f"config.annotate.{name}: {now[name]!r}, and {before[name]!r} in the run" for name in changed],
            f"{path}: annotations of another protocol; set these back, or annotate with another run_dir:",
        )
    return hashes[0]


def _exemplars(folder: epath.Path) -> tuple[tuple[str, str], ...]:
    path = folder / "exemplars.json"
    found = run_folder.read_object(path)
    if found is None:
        raise InputError(
            f"{path}: no such file, and without it exemplars cannot be kept out of training; run `slick annotate` again"
        )
    with run_folder.explained(path, AGAIN):
        pairs = [(row["id"], row["question"]) for sets in found.values() for rows in sets.values() for row in rows]
        if not all(isinstance(text, str) for pair in pairs for text in pair):
            raise ValueError("ids and questions of exemplars are texts")
        return tuple(pairs)
