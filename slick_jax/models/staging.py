"""Tensors read by byte range and cut on the host as the devices want them, every byte once."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from slick_jax.models.weight import Span, Weight

_BLOCK_BYTES = 16 << 20  # read at once

Read = Callable[[str, slice], np.ndarray]  # name and rows


def as_in_file(weight: Weight, sharding: Sharding) -> tuple[Sharding, list[int]]:
    """The sharding of a staged piece whose axes are in the file's order, and that order of our axes."""
    order = [axis for group in weight.hf_groups for axis in group]
    if not isinstance(sharding, NamedSharding):
        return sharding, order
    lead = len(weight.lead)
    parts = [*sharding.spec, *[None] * (len(weight.stacked_shape) - len(sharding.spec))]
    spec = PartitionSpec(*parts[:lead], *(parts[lead + axis] for axis in order))
    return NamedSharding(sharding.mesh, spec), order


def to_file_order(weight: Weight, order: list[int]) -> list[int]:
    """The transposition of a stacked array from our axis order to the file's."""
    lead = len(weight.lead)
    return [*range(lead), *(lead + axis for axis in order)]


def lead_shape(box: tuple[Span, ...]) -> tuple[int, ...]:
    """Tensors of a box along each stacked axis."""
    return tuple(stop - start for start, stop in box)


def names_of(weight: Weight, box: tuple[Span, ...]) -> list[str]:
    """Names of the tensors of a box, in its order."""
    return [
        weight.hf_name_at([start + offset for (start, _), offset in zip(box, at, strict=True)])
        for at in np.ndindex(lead_shape(box))
    ]


def spans_of(weight: Weight, box: tuple[Span, ...], index: Sequence[slice]) -> tuple[Span, ...]:
    """The spans of the weight's own axes that `index` of a stacked array selects."""
    return tuple(
        part.indices(size)[:2] for part, size in zip(index[len(box) :], weight.shape, strict=True)
    )


def boxes(lead: tuple[int, ...], count: int) -> Iterator[tuple[Span, ...]]:
    """Spans of the stacked axes that hold at most `count` tensors each: whole layers, or experts of one layer."""
    steps = list(lead)
    for axis in range(len(lead)):
        steps[axis] = min(lead[axis], max(1, count // math.prod(lead[axis + 1 :])))
    ranges = [range(0, size, step) for size, step in zip(lead, steps, strict=True)]
    for starts in itertools.product(*ranges):
        parts = zip(starts, steps, lead, strict=True)
        yield tuple((start, min(start + step, size)) for start, step, size in parts)


def stage(
    weight: Weight, box: tuple[Span, ...], sharding: Sharding, read: Read, dtype: np.dtype
) -> dict[tuple[Span, ...], np.ndarray]:
    """The stacked tensors of `box`, cut as the devices want them; every byte is read once.

    The arrays have our axes, but lie in memory as the file does.
    """
    lead, (_, order) = lead_shape(box), as_in_file(weight, sharding)
    indices = sharding.addressable_devices_indices_map((*lead, *weight.shape)).values()
    pieces = {}
    for key in {spans_of(weight, box, index) for index in indices}:
        sizes = [stop - start for start, stop in key]
        memory = np.empty((*lead, *(sizes[axis] for axis in order)), dtype)
        pieces[key] = memory.transpose(np.argsort(to_file_order(weight, order)))
    for at, name in zip(np.ndindex(lead), names_of(weight, box), strict=True):
        _fill(weight, name, {key: piece[at] for key, piece in pieces.items()}, read)
    return pieces


def _fill(weight: Weight, name: str, pieces: Mapping[tuple[Span, ...], np.ndarray], read: Read) -> None:
    """Reads one tensor in blocks of rows and puts what each piece wants of them in its place."""
    cut = weight.hf_groups[0][0]  # our axis along which rows of the file may be cut
    whole = [(0, size) for size in weight.shape]
    row_bytes = math.prod(weight.hf_shape) // weight.shape[cut] * 4
    step = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    for begin in range(0, weight.shape[cut], step):
        block = (begin, min(begin + step, weight.shape[cut]))
        shared = {key: (max(key[cut][0], block[0]), min(key[cut][1], block[1])) for key in pieces}
        shared = {key: span for key, span in shared.items() if span[0] < span[1]}
        if not shared:
            continue
        rows = weight.hf_slices(_with(whole, cut, block))[0]
        data = read(name, rows)
        for key, span in shared.items():
            first, *others = weight.hf_slices(_with(key, cut, span))
            taken = data[(slice(first.start - rows.start, first.stop - rows.start), *others)]
            sizes = [stop - start for start, stop in _with(key, cut, span)]
            place = [slice(None)] * len(sizes)
            place[cut] = slice(span[0] - key[cut][0], span[1] - key[cut][0])
            pieces[key][tuple(place)] = weight.hf_view(taken, sizes)


def _with(spans: Any, axis: int, span: Span) -> list[Span]:
    changed = list(spans)
    changed[axis] = span
    return changed
