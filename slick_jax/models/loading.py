"""Parameters from the safetensors of a Hugging Face folder, streamed by byte range into sharded arrays."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from slick_jax.errors import InputError
from slick_jax.mesh import replicated, sharding_for
from slick_jax.models.int8 import Int8Kernel, is_quantised, quantise, scale_of
from slick_jax.models.staging import as_in_file, boxes, lead_shape, names_of, spans_of, stage, to_file_order
from slick_jax.models.tensors import Where, check_tensors
from slick_jax.models.transformer import Network, Params
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table

_STAGED_BYTES = 64 << 20  # small tensors are brought to the devices together, up to this
_SMALL_BYTES = 4 << 20  # a parameter that is not worth a compiled program


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


def _sharding(weight: Weight, mesh: Mesh | None) -> Sharding:
    if mesh is None:
        return SingleDeviceSharding(jax.local_devices()[0])
    return sharding_for(mesh, weight.stacked_axes, weight.stacked_shape)


def _load_small(weight: Weight, mesh: Mesh | None, where: Where, dtype: np.dtype, finite: list) -> jax.Array:
    """The parameter, converted on the host."""
    sharding = _sharding(weight, mesh)
    (box,) = boxes(weight.lead, math.prod(weight.lead))
    names = names_of(weight, box)
    flags = dict.fromkeys(names, True)

    def read(name: str, rows: slice) -> np.ndarray:
        data = where[name].file.read(where[name].name, rows)
        flags[name] &= bool(np.isfinite(data).all())
        return data

    pieces = stage(weight, box, sharding, read, dtype)
    finite.append((names, list(flags.values())))
    return jax.make_array_from_callback(
        weight.stacked_shape, sharding, lambda index: pieces[spans_of(weight, box, index)]
    )


def _load_large(
    weight: Weight, mesh: Mesh | None, where: Where, dtype: np.dtype, finite: list
) -> jax.Array | Int8Kernel:
    """The parameter, filled on the devices by a few tensors at a time, which are brought there as they lie in the file.

    The devices turn and convert them: both are slow on the host. In int8 it is an `Int8Kernel`.
    """
    sharding = _sharding(weight, mesh)
    param = _zeros(weight, mesh, dtype)()
    turn = _turner(weight, mesh, dtype)
    for box in boxes(weight.lead, max(1, _STAGED_BYTES // (math.prod(weight.shape) * 4))):
        names = names_of(weight, box)
        kinds = {where[name].dtype for name in names}
        kind = kinds.pop() if len(kinds) == 1 else np.dtype(np.float32)
        pieces = stage(weight, box, sharding, lambda name, rows: where[name].file.read(where[name].name, rows), kind)
        turned, order = as_in_file(weight, sharding)
        shape = [*lead_shape(box), *(weight.shape[axis] for axis in order)]

        def piece(index: tuple[slice, ...], box=box, pieces=pieces, order=order) -> np.ndarray:
            lead = len(box)
            ours = [*index[:lead], *(index[lead + order.index(axis)] for axis in range(len(order)))]
            return pieces[spans_of(weight, box, ours)].transpose(to_file_order(weight, order))

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
def _zeros(weight: Weight, mesh: Mesh | None, dtype: np.dtype) -> Callable[[], jax.Array | Int8Kernel]:
    """Compiled: the parameter before any of it is read."""
    places = _places(weight, mesh, dtype)

    def zeros() -> Any:
        return jax.tree.map(lambda place: jnp.zeros(place.shape, place.dtype), places)

    return jax.jit(zeros, out_shardings=jax.tree.map(lambda place: place.sharding, places))


@functools.cache
def _turner(weight: Weight, mesh: Mesh | None, dtype: np.dtype) -> Callable[[jax.Array], tuple[Any, jax.Array]]:
    """Compiled: a staged piece in our layout and dtype, and which of its tensors are finite."""
    sharding = _sharding(weight, mesh)
    _, order = as_in_file(weight, sharding)
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


