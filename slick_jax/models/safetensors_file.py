"""Reading safetensors by byte range: a mapped file would stay in the host's memory, page by page."""

import math
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from slick_jax.errors import InputError, short
from slick_jax.files.json_text import parse

# Names of the format -> numpy's; other types are listed by their name and never read.
FLOATS = {"F32": np.dtype(np.float32), "BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype(np.float16)}
_BYTES = {name: dtype.itemsize for name, dtype in FLOATS.items()} | {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
_MOST_HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: its type as the format calls it, its shape, and where its bytes begin."""

    dtype: str
    shape: tuple[int, ...]
    start: int


class TensorFile:
    """One safetensors file, its header read and checked. Raises InputError where it is not one, or cut short."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.entries = _read_header(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: cannot be read as safetensors ({error}); copy the file again") from None

    def read(self, name: str, rows: slice | None = None) -> np.ndarray:
        """Rows of a tensor (all of them by default), read from their own bytes."""
        entry = self.entries[name]
        dtype, shape = FLOATS[entry.dtype], entry.shape
        start, stop = (0, shape[0]) if rows is None else (rows.start, rows.stop)
        row = math.prod(shape[1:])
        count = (stop - start) * row * dtype.itemsize
        data = np.fromfile(self.path, np.uint8, count, offset=entry.start + start * row * dtype.itemsize)
        if data.size != count:
            raise InputError(f"{self.path}: ends within {name}; copy the file again")
        return data.view(dtype).reshape(stop - start, *shape[1:])


def _read_header(path: Path) -> dict[str, Entry]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MOST_HEADER_BYTES):
            raise ValueError("its header is longer than the file")
        text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError(f"its header is {short(text)}, no JSON object")
    header = parse(text, unique=True)
    notes = header.pop("__metadata__", None)
    if notes is not None and not (isinstance(notes, dict) and all(isinstance(text, str) for text in notes.values())):
        raise ValueError(f"its __metadata__ is {short(notes)}, no texts by name")
    entries, spans = {}, []
    for name, fields in header.items():
        dtype, shape, (start, stop) = fields["dtype"], fields["shape"], fields["data_offsets"]
        numbers = [*shape, start, stop]
        if not isinstance(dtype, str) or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError(f"{short(name)} has no type, shape and place, but {short(fields)}")
        if dtype in _BYTES and math.prod(shape) * _BYTES[dtype] != stop - start:
            raise ValueError(f"{short(name)} has {stop - start} bytes, which is not {dtype} of {short(shape)}")
        entries[name] = Entry(dtype, tuple(shape), 8 + length + start)
        spans.append((start, stop, name))
    end = 0
    for start, stop, name in sorted(spans):  # as the format wants it: no gap, no overlap, nothing behind
        if start != end or stop < start:
            raise ValueError(f"{short(name)} takes bytes {start} to {stop}, where {end} is next")
        end = stop
    if end != size - 8 - length:
        raise ValueError(f"it has {size - 8 - length} bytes of tensors, and its header describes {end}")
    return entries
