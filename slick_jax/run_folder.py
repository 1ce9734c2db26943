"""Files of a run folder: every one is written to a temporary name and renamed, so that a file that exists is whole.

Paths go through etils.epath. Folders must be able to rename, as local and network file systems are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from slick_jax import atomic
from slick_jax.errors import InputError


def write_bytes(path: epath.PathLike, content: bytes) -> epath.Path:
    """Write `content` whole or not at all, creating the folder. Raises InputError when the folder cannot be written."""
    path = epath.Path(path)
    atomic.replace(path, lambda temporary: temporary.write_bytes(content), "choose another run_dir")
    return path


def write_text(path: epath.PathLike, text: str) -> epath.Path:
    """`write_bytes` of UTF-8 text."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: epath.PathLike, value: Any) -> epath.Path:
    """`write_bytes` of indented JSON with sorted keys, so that equal values are equal files."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_parquet(path: epath.PathLike, table: pa.Table) -> epath.Path:
    """`write_bytes` of a Parquet file; equal tables are equal files."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return write_bytes(path, sink.getvalue().to_pybytes())


def read_json(path: epath.PathLike) -> Any:
    """The JSON value of a file, or None where there is no such file. Raises InputError on a damaged one."""
    path = epath.Path(path)
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); remove it and run again") from error


def read_parquet(path: epath.PathLike) -> pa.Table:
    """A Parquet file as a table. Raises InputError on a damaged one."""
    return _parquet(path, pq.read_table)


def read_parquet_schema(path: epath.PathLike) -> pa.Schema:
    """The schema of a Parquet file, with its metadata. Raises InputError where the file has no whole footer."""
    return _parquet(path, pq.read_schema)


def _parquet(path: epath.PathLike, read: Callable[[pa.BufferReader], Any]) -> Any:
    path = epath.Path(path)
    try:
        return read(pa.BufferReader(path.read_bytes()))
    except (pa.ArrowException, OSError) as error:  # damaged pages are an OSError
        raise InputError(f"{path}: not a readable Parquet file ({error}); remove it and run again") from error


def differences(found: dict, wanted: dict, prefix: str = "") -> str:
    """What nested settings of a folder and of this run disagree on, as 'name was x, is y, ...'."""
    parts = []
    for name in sorted({*found, *wanted}):
        old, new = found.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            parts.append(differences(old, new, f"{prefix}{name}."))
        elif old != new:
            parts.append(f"{prefix}{name} was {old!r}, is {new!r}")
    return ", ".join(part for part in parts if part)
