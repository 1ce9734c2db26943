"""Files of a run folder: every one is written to a temporary name and renamed, so that a file that exists is whole.

Paths go through etils.epath. On object stores (slick_jax.files.stores), which cannot rename, every object is whole.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from slick_jax.errors import InputError, short
from slick_jax.files import atomic, stores
from slick_jax.files.json_text import parse

AGAIN = "remove it and run again"
stores.configure()


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
    """`write_bytes` of a Parquet file; equal tables are equal files. Its pages carry checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return write_bytes(path, sink.getvalue().to_pybytes())


def read_json(path: epath.PathLike, remedy: str = AGAIN) -> Any:
    """The JSON value of a file, or None where there is no such file. Raises InputError, with `remedy`, on a damaged
    one."""
    content = _content(path)
    if content is None:
        return None
    try:
        return parse(content)
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); {remedy}") from error


def read_object(path: epath.PathLike, remedy: str = AGAIN) -> dict[str, Any] | None:
    """`read_json` of a file that holds an object. Raises InputError where it holds another value."""
    found = read_json(path, remedy)
    if found is not None and not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object, found {short(found)}; {remedy}")
    return found


@contextlib.contextmanager
def explained(path: epath.PathLike, remedy: str = AGAIN) -> Iterator[None]:
    """Within this block, where the content of `path` is taken apart, an InputError says that it is not what the
    program writes there: fields are missing, or of other types."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, pa.ArrowException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not what is written there ({type(error).__name__}: {error}); {remedy}") from error


def read_parquet(path: epath.PathLike, remedy: str = AGAIN) -> pa.Table:
    """A Parquet file as a table. Raises InputError, with `remedy`, on a damaged one."""

    def read(buffer: pa.BufferReader) -> pa.Table:
        file = pq.ParquetFile(buffer, page_checksum_verification=True)
        table = file.read()
        groups = range(file.metadata.num_row_groups)
        counted = sum(file.metadata.row_group(number).num_rows for number in groups)
        if not table.num_rows == file.metadata.num_rows == counted:  # the footer has no checksum, but counts twice
            raise ValueError("its counts of rows differ")
        if len(set(table.column_names)) < table.num_columns:
            raise ValueError("a column twice")
        table.validate(full=True)  # lengths of lists, texts that are no UTF-8
        return table

    return _parquet(path, read, remedy)


def read_columns(path: epath.PathLike, columns: Sequence[str]) -> pa.Table:
    """Those of `columns` that a Parquet file has. Raises InputError on a damaged one."""

    def read(buffer: pa.BufferReader) -> pa.Table:
        file = pq.ParquetFile(buffer, page_checksum_verification=True)
        return file.read([name for name in columns if name in file.schema_arrow.names])

    return _parquet(path, read)


def read_parquet_schema(path: epath.PathLike) -> pa.Schema:
    """The schema of a Parquet file, with its metadata. Raises InputError where the file has no whole footer."""
    return _parquet(path, pq.read_schema)


def _parquet(path: epath.PathLike, read: Callable[[pa.BufferReader], Any], remedy: str = AGAIN) -> Any:
    content = _content(path)
    if content is None:
        raise InputError(f"{path}: no such file; run again what writes it")
    try:
        return read(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError) as error:  # damaged pages are an OSError
        raise InputError(f"{path}: not a readable Parquet file ({error}); {remedy}") from error


def _content(path: epath.PathLike) -> bytes | None:
    """What is in a file; None where there is none. Raises InputError, or Stopped, where it is there and cannot be read:
    that says nothing of its content."""
    path = epath.Path(path)
    missing = contextlib.suppress(FileNotFoundError, NotADirectoryError)
    with atomic.told(path, "mend that and run it again", reading=True), missing:
        return path.read_bytes()
    return None


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
