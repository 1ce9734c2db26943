"""Tables of the stages: `<run_dir>/longform/<domain>/<stage>.parquet`, each whole or absent, and of one protocol.

A long stage is written in parts beside its table, so that what is killed loses one part; at the end the parts become
the table, whose bytes do not hang on how often the work was interrupted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa
from etils import epath

from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.files.hashing import digest
from slick_jax.longform.records import Claim, Entity, Text

Item = TypeVar("Item")
ROOM = "longform"  # in the run folder


class Stage:
    """The table of one stage of a domain.

    Attributes:
      protocol: SHA-256 over the settings that decide the table; the settings of a stage that reads it name it, so that
        another input is another protocol.
    """

    def __init__(
        self, run_dir: epath.PathLike, domain: str, name: str, schema: pa.Schema, settings: Mapping[str, Any]
    ):
        """`settings`: JSON values, all that the rows hang on.

        Raises InputError when the folder holds this table, or parts of it, of other settings.
        """
        self.name, self._schema = f"{domain}/{name}", schema
        self._settings = json.loads(json.dumps(dict(settings)))
        self.protocol = digest(self._settings)
        room = epath.Path(run_dir) / ROOM / domain
        self.path, self._parts = room / f"{name}.parquet", room / f"{name}.parts"
        for path in [self.path] if self.done() else self._part_paths():
            self._check(path, run_folder.read_parquet_schema(path).metadata)
        if self.done():
            self._parts.rmtree(missing_ok=True)  # of a process that was killed before it removed them

    def done(self) -> bool:
        """Whether the table has been written."""
        return self.path.exists()

    def read(self) -> tuple[list[dict[str, Any]], Counter]:
        """Rows and counters. Raises InputError where the table is absent, damaged or of another protocol."""
        if not self.done():
            raise InputError(f"{self.path}: is not there; run the command of its stage (docs/longform.md) first")
        return self._read(self.path)

    def write(self, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int] | None = None) -> None:
        """Write the whole table; counters travel in its metadata."""
        self._write(self.path, rows, counts or {})
        self._parts.rmtree(missing_ok=True)

    def in_parts(
        self,
        items: Sequence[Item],
        size: int,
        make: Callable[[Sequence[Item]], tuple[list[dict[str, Any]], Mapping[str, int]]],
        show: Callable[[int], None] = lambda done: None,
    ) -> tuple[list[dict[str, Any]], Counter]:
        """The table's rows and counters, made and written for `size` items at a time; parts that are there are kept.

        `items` must hang on the settings alone: a part is known by the places of its items. show: told how many items
        are done, also of parts that an earlier run has written.
        """
        if self.done():
            return self.read()
        rows, counts = [], Counter()
        for start in range(0, len(items), size):
            part = items[start : start + size]
            path = self._parts / _part_name(start, len(part))
            if not path.exists():
                self._write(path, *make(part))
            found, more = self._read(path)
            rows += found
            counts.update(more)
            show(start + len(part))
        self.write(rows, counts)
        return rows, counts

    def finished(self, items: int, size: int) -> int:
        """Items of the parts that an earlier run has written; all of them where the table is whole."""
        if self.done():
            return items
        names = {path.name for path in self._part_paths()}
        sizes = ((start, min(size, items - start)) for start in range(0, items, size))
        return sum(length for start, length in sizes if _part_name(start, length) in names)

    def _part_paths(self) -> list[epath.Path]:
        return sorted(self._parts.glob("part-*.parquet")) if self._parts.exists() else []

    def _write(self, path: epath.Path, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> None:
        metadata = {
            "protocol": self.protocol,
            "settings": json.dumps(self._settings, sort_keys=True),
            "counts": json.dumps(dict(counts), sort_keys=True),
        }
        run_folder.write_parquet(path, pa.Table.from_pylist(list(rows), self._schema.with_metadata(metadata)))

    def _read(self, path: epath.Path) -> tuple[list[dict[str, Any]], Counter]:
        table = run_folder.read_parquet(path)
        self._check(path, table.schema.metadata)
        with run_folder.explained(path):
            return table.cast(self._schema).to_pylist(), Counter(json.loads(table.schema.metadata[b"counts"]))

    def _check(self, path: epath.Path, metadata: dict[bytes, bytes] | None) -> None:
        metadata = metadata or {}
        if metadata.get(b"protocol", b"") == self.protocol.encode():
            return
        with run_folder.explained(path):
            found = dict(json.loads(metadata.get(b"settings", b"{}")))
        told = run_folder.differences(found, self._settings) or "it names none"
        raise InputError(
            f"{path}: holds {self.name} of another protocol ({told}); set another run_dir, or remove"
            f" {path if path == self.path else path.parent}"
        )


def _part_name(start: int, length: int) -> str:
    return f"part-{start:07d}-{start + length:07d}.parquet"


def entity_row(entity: Entity) -> dict[str, Any]:
    """A row of records.ENTITIES."""
    plain = {name: getattr(entity, name) for name in ("id", "domain", "name", "split", "prompt", "reference")}
    relations, values = ([pair[place] for pair in entity.facts] for place in range(2))
    return plain | {"relations": relations, "values": values, "exposure": entity.exposure}


def text_row(text: Text) -> dict[str, Any]:
    """A row of records.TEXTS."""
    return dict(vars(text))


def text_of(row: Mapping[str, Any]) -> Text:
    """The text of a row."""
    return Text(**row)


def claim_row(claim: Claim, support: float | None = None) -> dict[str, Any]:
    """A row of records.CLAIMS; `support` where it is verified, and from 0.5 on the claim is supported."""
    relation, value = claim.fact or (None, None)
    return {
        "id": claim.id, "text_id": claim.text, "entity": claim.entity, "sentence": claim.sentence,
        "claim": claim.claim, "relation": relation, "value": value,
        "supported": None if support is None else bool(support >= 0.5),
        "support": None if support is None else float(support),
    }  # fmt: skip


def claim_of(row: Mapping[str, Any]) -> Claim:
    """The claim of a row, without its label."""
    fact = None if row["relation"] is None else (row["relation"], row["value"])
    return Claim(row["id"], row["text_id"], row["entity"], row["sentence"], row["claim"], fact)
