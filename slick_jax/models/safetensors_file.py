"""Reading safetensors by byte range: a mapped file would stay in the host's memory, page by page."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from slick_jax.errors import InputError

# Names of the format -> numpy's; other types are listed by their name and never read.
FLOATS = {"F32": np.dtype(np.float32), "BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype(np.float16)}
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
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    entries = {}
    for name, fields in header.items():
        shape, (start, stop) = tuple(fields["shape"]), fields["data_offsets"]
        entries[name] = Entry(fields["dtype"], shape, 8 + length + start)
        bits = {"F32": 32, "BF16": 16, "F16": 16}.get(fields["dtype"])
        if not 0 <= start <= stop <= size - 8 - length:
            raise ValueError(f"{name} lies outside the file")
        if bits is not None and math.prod(shape) * bits // 8 != stop - start:
            raise ValueError(f"{name} has {stop - start} bytes, which is not {fields['dtype']} of {shape}")
    return entries
