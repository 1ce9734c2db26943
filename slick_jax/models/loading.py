"""Parameters from the safetensors of a Hugging Face folder, streamed by byte range into sharded arrays."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from slick_jax.errors import InputError
from slick_jax.mesh import replicated, sharding_for
from slick_jax.models.families import layout_of
from slick_jax.models.hf_folder import open_tensors
from slick_jax.models.int8 import Int8Kernel, is_quantised, quantise, scale_of
from slick_jax.models.safetensors_file import FLOATS, TensorFile
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network, Params
from slick_jax.models.weight import Span, Weight
from slick_jax.models.weight_table import weight_table

# Buffers that old exports kept beside the weights; they follow from the config.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".masked_bias", ".attn.bias", ".attention.bias")
_BLOCK_BYTES = 16 << 20  # read at once
_STAGED_BYTES = 64 << 20  # small tensors are brought to the devices together, up to this
_SMALL_BYTES = 4 << 20  # a parameter that is not worth a compiled program


class Tensor(NamedTuple):
    """A tensor of a model folder: its file, and its name there."""

    file: TensorFile
    name: str

    @property
    def dtype(self) -> np.dtype:
        """Its type in the file."""
        return FLOATS[self.file.entries[self.name].dtype]


Where = Mapping[str, Tensor]
Read = Callable[[str, slice], np.ndarray]  # name and rows


def check_tensors(folder: str | Path, spec: ModelSpec) -> dict[str, Tensor]:
    """Where every tensor of `folder` is, once names and shapes are known to fit `spec`; no weights are read.

    Raises InputError listing all missing, unexpected and mis-shaped tensors together.
    """
    where = _qualified(spec, open_tensors(folder))
    problems = _account(spec, where) or _untied(spec, where)
    if problems:
        raise InputError.of(problems, f"{folder}: the tensors do not fit its config.json")
    return where


def load_hf(
    folder: str | Path, network: Network, mesh: Mesh | None = None, dtype: Any = jnp.float32, int8: bool = False
) -> Params:
    """Parameters of `network` from the safetensors of `folder`, in `dtype`, sharded over `mesh` where one is given.

    With `int8` the kernels of the layers are `Int8Kernel`s, rounded a few tensors at a time as they are read. Every
    device gets only its own piece, and the host holds little more than the tensor being read, never a model. Raises
    InputError listing all missing, unexpected and mis-shaped tensors together, or every tensor with NaN or infinite
    values.
    """
    where = check_tensors(folder, network.spec)
    finite: list[tuple[list[str], Any]] = []  # names of tensors, and whether each is finite

    def load(weight: Weight) -> jax.Array | Int8Kernel:
        if int8 and is_quantised(weight):
            return _load_large(weight, mesh, where, jnp.dtype(jnp.int8), finite)
        small = math.prod(weight.stacked_shape) * jnp.dtype(dtype).itemsize <= _SMALL_BYTES
        return (_load_small if small else _load_large)(weight, mesh, where, jnp.dtype(dtype), finite)

    params = jax.tree.map(load, weight_table(network.spec), is_leaf=lambda node: isinstance(node, Weight))
    checked = ((name, fine) for names, flags in finite for name, fine in zip(names, np.ravel(flags), strict=True))
    broken = {name for name, fine in checked if not fine}
    if broken:
        tensors = [f"{where[name].name} holds NaN or infinite values" for name in sorted(broken)]
        raise InputError.of(tensors, f"{folder}: broken weights; export or download the model again")
    return params


def _qualified(spec: ModelSpec, files: Mapping[str, TensorFile]) -> dict[str, Tensor]:
    """Tensors by their full names: files of a model saved without its head leave the base's name out."""
    layout = layout_of(spec)
    whole = any(name.startswith(layout.base) for name in files)
    bare = {name: name if whole or name == f"{layout.head}.weight" else layout.base + name for name in files}
    return {bare[name]: Tensor(file, name) for name, file in files.items()}


def _weights(spec: ModelSpec) -> list[Weight]:
    return jax.tree.leaves(weight_table(spec), is_leaf=lambda node: isinstance(node, Weight))


def _account(spec: ModelSpec, where: Mapping[str, Tensor]) -> list[str]:
    """Every difference between the tensors that the table wants and those that are there."""
    table, head = _vocabulary_names(spec)
    wanted = {name: weight.hf_shape for weight in _weights(spec) for name in weight.hf_names()}
    problems = [f"missing: {name} {shape}" for name, shape in wanted.items() if name not in where]
    for name, (file, own_name) in sorted(where.items()):
        shape, dtype = file.entries[own_name].shape, file.entries[own_name].dtype
        # A tied model's file may repeat the table under the head's name: see _untied.
        if name not in wanted and name == head:
            if shape != wanted[table]:
                problems.append(f"unexpected: {name} {shape}, although tie_word_embeddings is true")
        elif name not in wanted and not name.endswith(_IGNORED_SUFFIXES):
            problems.append(f"unexpected: {name} {shape}")
        elif name in wanted and shape != wanted[name]:
            problems.append(f"mis-shaped: {name} is {shape}, config.json asks for {wanted[name]}")
        elif name in wanted and dtype not in FLOATS:
            problems.append(f"{name} is of type {dtype}; read are {', '.join(FLOATS)}")
    shown = 40
    return problems if len(problems) <= shown else [*problems[:shown], f"and {len(problems) - shown} more"]


def _vocabulary_names(spec: ModelSpec) -> tuple[str, str]:
    """Names of the embedding's tensor and the head's."""
    layout = layout_of(spec)
    return f"{layout.base}{layout.embedding}.weight", f"{layout.head}.weight"


def _untied(spec: ModelSpec, where: Mapping[str, Tensor], block: int = 4096) -> list[str]:
    """A head that differs from the table in a model said to tie them: which of the two to use is anyone's guess."""
    table, head = _vocabulary_names(spec)
    if spec.tie_embeddings and head in where:
        for start in range(0, spec.vocab_size, block):
            rows = slice(start, min(start + block, spec.vocab_size))
            first, second = (where[name].file.read(where[name].name, rows).tobytes() for name in (table, head))
            if first != second:
                return [f"{head} differs from {table}, although tie_word_embeddings is true; false would use both"]
    return []


def _sharding(weight: Weight, mesh: Mesh | None) -> Sharding:
    if mesh is None:
        return SingleDeviceSharding(jax.local_devices()[0])
    return sharding_for(mesh, weight.stacked_axes, weight.stacked_shape)


def _load_small(weight: Weight, mesh: Mesh | None, where: Where, dtype: np.dtype, finite: list) -> jax.Array:
    """The parameter, converted on the host."""
    sharding = _sharding(weight, mesh)
    (box,) = _boxes(weight.lead, math.prod(weight.lead))
    names = _names(weight, box)
    flags = dict.fromkeys(names, True)

    def read(name: str, rows: slice) -> np.ndarray:
        data = where[name].file.read(where[name].name, rows)
        flags[name] &= bool(np.isfinite(data).all())
        return data

    pieces = _stage(weight, box, sharding, read, dtype)
    finite.append((names, list(flags.values())))
    return jax.make_array_from_callback(
        weight.stacked_shape, sharding, lambda index: pieces[_spans(weight, box, index)]
    )


def _load_large(
    weight: Weight, mesh: Mesh | None, where: Where, dtype: np.dtype, finite: list
) -> jax.Array | Int8Kernel:
    """The parameter, filled on the devices by a few tensors at a time, which are brought there as they lie in the file.

    The devices turn and convert them: both are slow on the host. In int8 it is an `Int8Kernel`.
    """
    sharding, places = _sharding(weight, mesh), _places(weight, mesh, dtype)

    def zeros() -> Any:
        return jax.tree.map(lambda place: jnp.zeros(place.shape, place.dtype), places)

    param = jax.jit(zeros, out_shardings=jax.tree.map(lambda place: place.sharding, places))()
    turn = _turner(weight, mesh, dtype)
    for box in _boxes(weight.lead, max(1, _STAGED_BYTES // (math.prod(weight.shape) * 4))):
        names = _names(weight, box)
        kinds = {where[name].dtype for name in names}
        kind = kinds.pop() if len(kinds) == 1 else np.dtype(np.float32)
        pieces = _stage(weight, box, sharding, lambda name, rows: where[name].file.read(where[name].name, rows), kind)
        turned, order = _as_in_file(weight, sharding)
        shape = [*_lead(box), *(weight.shape[axis] for axis in order)]

        def piece(index: tuple[slice, ...], box=box, pieces=pieces, order=order) -> np.ndarray:
            lead = len(box)
            ours = [*index[:lead], *(index[lead + order.index(axis)] for axis in range(len(order)))]
            return pieces[_spans(weight, box, ours)].transpose(_turn(weight, order))

        staged = jax.make_array_from_callback(tuple(shape), turned, piece)
        part, flags = turn(staged)
        finite.append((names, flags))
        param = jax.block_until_ready(_put(param, part, np.array([span[0] for span in box], np.int32)))
        del staged, pieces, piece, part  # waited for, and gone: else staged pieces would pile up on the host
    return param


def _places(weight: Weight, mesh: Mesh | None, dtype: np.dtype) -> Any:
    """Shape, dtype and sharding of the parameter, or of the two arrays of an `Int8Kernel`."""

    def place(weight: Weight, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(weight.stacked_shape, dtype, sharding=_sharding(weight, mesh))

    if dtype == jnp.int8:
        return Int8Kernel(place(weight, dtype), place(scale_of(weight), jnp.float32))
    return place(weight, dtype)


@functools.cache
def _turner(weight: Weight, mesh: Mesh | None, dtype: np.dtype) -> Callable[[jax.Array], tuple[Any, jax.Array]]:
    """Compiled: a staged piece in our layout and dtype, and which of its tensors are finite."""
    sharding = _sharding(weight, mesh)
    _, order = _as_in_file(weight, sharding)
    lead = len(weight.lead)
    back = [*range(lead), *(lead + order.index(axis) for axis in range(len(order)))]

    def turn(staged: jax.Array) -> tuple[Any, jax.Array]:
        # NaN and infinite values are NaN times 0; a sum keeps them, which XLA's maximum on CPU does not.
        flags = jnp.sum(staged * 0, axis=tuple(range(lead, staged.ndim))) == 0
        ours = staged.transpose(back)
        inputs = range(lead, lead + weight.inputs)
        return quantise(ours, inputs) if dtype == jnp.int8 else ours.astype(dtype), flags

    everywhere = sharding if mesh is None else replicated(mesh)
    shardings = jax.tree.map(lambda place: place.sharding, _places(weight, mesh, dtype))
    return jax.jit(turn, out_shardings=(shardings, everywhere))


# A program of its own: with the turning fused into it, that would be half as fast on CPU.
@functools.partial(jax.jit, donate_argnums=0)
def _put(param: Any, piece: Any, start: jax.Array) -> Any:
    """`piece` put into `param` from `start` of the stacked axes on."""

    def put(array: jax.Array, piece: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice(array, piece, (*start, *[0] * (array.ndim - len(start))))

    return jax.tree.map(put, param, piece)


def _as_in_file(weight: Weight, sharding: Sharding) -> tuple[Sharding, list[int]]:
    """The sharding of a staged piece whose axes are in the file's order, and that order of our axes."""
    order = [axis for group in weight.hf_groups for axis in group]
    if not isinstance(sharding, NamedSharding):
        return sharding, order
    lead = len(weight.lead)
    parts = [*sharding.spec, *[None] * (len(weight.stacked_shape) - len(sharding.spec))]
    spec = PartitionSpec(*parts[:lead], *(parts[lead + axis] for axis in order))
    return NamedSharding(sharding.mesh, spec), order


def _turn(weight: Weight, order: list[int]) -> list[int]:
    """The transposition of a stacked array from our axis order to the file's."""
    lead = len(weight.lead)
    return [*range(lead), *(lead + axis for axis in order)]


def _lead(box: tuple[Span, ...]) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in box)


def _names(weight: Weight, box: tuple[Span, ...]) -> list[str]:
    """Names of the tensors of a box, in its order."""
    return [
        weight.hf_name_at([start + offset for (start, _), offset in zip(box, at, strict=True)])
        for at in np.ndindex(_lead(box))
    ]


def _spans(weight: Weight, box: tuple[Span, ...], index: Sequence[slice]) -> tuple[Span, ...]:
    """The spans of the weight's own axes that `index` of a stacked array selects."""
    return tuple(
        part.indices(size)[:2] for part, size in zip(index[len(box) :], weight.shape, strict=True)
    )


def _boxes(lead: tuple[int, ...], count: int) -> Iterator[tuple[Span, ...]]:
    """Spans of the stacked axes that hold at most `count` tensors each: whole layers, or experts of one layer."""
    steps = list(lead)
    for axis in range(len(lead)):
        steps[axis] = min(lead[axis], max(1, count // math.prod(lead[axis + 1 :])))
    ranges = [range(0, size, step) for size, step in zip(lead, steps, strict=True)]
    for starts in itertools.product(*ranges):
        parts = zip(starts, steps, lead, strict=True)
        yield tuple((start, min(start + step, size)) for start, step, size in parts)


def _stage(
    weight: Weight, box: tuple[Span, ...], sharding: Sharding, read: Read, dtype: np.dtype
) -> dict[tuple[Span, ...], np.ndarray]:
    """The stacked tensors of `box`, cut as the devices want them; every byte is read once.

    The arrays have our axes, but lie in memory as the file does.
    """
    lead, (_, order) = _lead(box), _as_in_file(weight, sharding)
    indices = sharding.addressable_devices_indices_map((*lead, *weight.shape)).values()
    pieces = {}
    for key in {_spans(weight, box, index) for index in indices}:
        sizes = [stop - start for start, stop in key]
        memory = np.empty((*lead, *(sizes[axis] for axis in order)), dtype)
        pieces[key] = memory.transpose(np.argsort(_turn(weight, order)))
    for at, name in zip(np.ndindex(lead), _names(weight, box), strict=True):
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
