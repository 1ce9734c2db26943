"""Hugging Face folders in and out: config.json and safetensors, streamed one tensor at a time."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, Sharding, SingleDeviceSharding

from slick_jax.errors import InputError
from slick_jax.mesh import sharding_for
from slick_jax.models.hf_folder import (
    INDEX,
    TOKEN_IDS,
    TOKENIZER_FILES,
    open_tensors,
    read_config,
    replace,
    start_writing,
    tensor_files,
    write_json,
)
from slick_jax.models.spec import ModelSpec, spec_from_hf, spec_to_hf
from slick_jax.models.transformer import Network, Params
from slick_jax.models.weight_table import Weight, weight_table

_FLOATS = ("F32", "BF16", "F16")
# Buffers that old exports kept beside the weights; they follow from the config.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".masked_bias")


def read_spec(folder: str | Path) -> ModelSpec:
    """The architecture of a model folder."""
    return spec_from_hf(read_config(folder), str(Path(folder) / "config.json"))


def fingerprint(folder: str | Path) -> str:
    """Sha256 over config.json and the safetensors files (names and bytes): what the model of a run is told by."""
    read_config(folder)
    digest = hashlib.sha256()
    for path in [Path(folder) / "config.json", *tensor_files(folder)]:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def check_tensors(folder: str | Path, spec: ModelSpec) -> dict[str, Any]:
    """The open file of every tensor of `folder`, once names and shapes are known to fit `spec`; no weights are read.

    Raises InputError listing all missing, unexpected and mis-shaped tensors together.
    """
    where = open_tensors(folder)
    found = {
        name: (tuple(handle.get_slice(name).get_shape()), handle.get_slice(name).get_dtype())
        for name, handle in where.items()
    }
    problems = _account(spec, found) or _untied(spec, where)
    if problems:
        raise InputError.of(problems, f"{folder}: the tensors do not fit its config.json")
    return where


def load_hf(folder: str | Path, network: Network, mesh: Mesh | None = None, dtype: Any = jnp.float32) -> Params:
    """Parameters of `network` from the safetensors of `folder`, in `dtype`, sharded over `mesh` where one is given.

    Every device gets only its own piece, cut out of the file, so the host never holds a whole model. Raises InputError
    listing all missing, unexpected and mis-shaped tensors together, or every tensor with NaN or infinite values.
    """
    where = check_tensors(folder, network.spec)
    broken: set[str] = set()

    def read(name: str, index: tuple[slice, ...]) -> np.ndarray:
        piece = where[name].get_slice(name)[index]
        if not np.isfinite(piece.astype(np.float32)).all():
            broken.add(name)
        return piece

    params = jax.tree.map(
        lambda weight: _place(weight, _sharding(weight, mesh), read, jnp.dtype(dtype)),
        weight_table(network.spec),
        is_leaf=_is_weight,
    )
    if broken:
        tensors = [f"{name} holds NaN or infinite values" for name in sorted(broken)]
        raise InputError.of(tensors, f"{folder}: broken weights; export or download the model again")
    return params


def save_hf(
    folder: str | Path,
    network: Network,
    params: Params,
    *,
    tokenizer_folder: str | Path | None = None,
    extra_config: Mapping[str, Any] | None = None,
    max_file_bytes: int = 5_000_000_000,
) -> None:
    """Writes `params` as a folder that transformers loads, in the dtype they have.

    Tokenizer files, and token ids not named in `extra_config`, are taken from `tokenizer_folder`. Every file is written
    under a temporary name and renamed, config.json last: a folder without it is unfinished. On several processes all
    of them must call this; the first one writes.
    """
    folder = Path(folder)
    extra = dict(extra_config or {})
    source = None if tokenizer_folder is None else Path(tokenizer_folder)
    if source is not None and (source / "config.json").is_file():
        extra = {name: value for name, value in read_config(source).items() if name in TOKEN_IDS} | extra
    writes = jax.process_index() == 0
    if writes:
        start_writing(folder)
    _write_tensors(folder, network.spec, params, max_file_bytes, writes)
    if not writes:
        return
    for name in TOKENIZER_FILES if source is not None and source.resolve() != folder.resolve() else ():
        if (source / name).is_file():
            replace(folder / name, lambda path, name=name: shutil.copyfile(source / name, path))
    ids = {name: value for name, value in extra.items() if name in TOKEN_IDS}
    if source is None or not (source / "generation_config.json").is_file():
        write_json(folder / "generation_config.json", {"_from_model_config": True, **ids})
    dtype = str(jax.tree.leaves(params)[0].dtype)
    # Both names of the dtype: transformers 5 writes the second, version 4 reads the first.
    write_json(folder / "config.json", spec_to_hf(network.spec, torch_dtype=dtype, dtype=dtype, **extra))


def _is_weight(node: Any) -> bool:
    return isinstance(node, Weight)


def _weights(spec: ModelSpec) -> list[Weight]:
    return jax.tree.leaves(weight_table(spec), is_leaf=_is_weight)


def _account(spec: ModelSpec, found: Mapping[str, tuple[tuple[int, ...], str]]) -> list[str]:
    """Every difference between the tensors that the table wants and those `found` (name -> shape, dtype)."""
    wanted = {name: weight.hf_shape for weight in _weights(spec) for name in weight.hf_names()}
    problems = [f"missing: {name} {shape}" for name, shape in wanted.items() if name not in found]
    for name, (shape, dtype) in sorted(found.items()):
        # A tied model's file may repeat the table under the head's name: see _untied.
        if name not in wanted and not name.endswith(_IGNORED_SUFFIXES) and name != "lm_head.weight":
            problems.append(f"unexpected: {name} {shape}")
        elif name not in wanted and name == "lm_head.weight" and shape != wanted["model.embed_tokens.weight"]:
            problems.append(f"unexpected: {name} {shape}, although tie_word_embeddings is true")
        elif name in wanted and shape != wanted[name]:
            problems.append(f"mis-shaped: {name} is {shape}, config.json asks for {wanted[name]}")
        elif name in wanted and dtype not in _FLOATS:
            problems.append(f"{name} is of type {dtype}; read are {', '.join(_FLOATS)}")
    shown = 40
    return problems if len(problems) <= shown else [*problems[:shown], f"and {len(problems) - shown} more"]


def _untied(spec: ModelSpec, where: Mapping[str, Any], block: int = 4096) -> list[str]:
    """A head that differs from the table in a model said to tie them: which of the two to use is anyone's guess."""
    table, head = "model.embed_tokens.weight", "lm_head.weight"
    if spec.tie_embeddings and head in where:
        pieces = [where[name].get_slice(name) for name in (table, head)]
        for start in range(0, spec.vocab_size, block):
            stop = min(start + block, spec.vocab_size)
            first, second = (piece[start:stop].tobytes() for piece in pieces)
            if first != second:
                return [f"{head} differs from {table}, although tie_word_embeddings is true; false would use both"]
    return []


def _sharding(weight: Weight, mesh: Mesh | None) -> Sharding:
    if mesh is None:
        return SingleDeviceSharding(jax.devices()[0])
    return sharding_for(mesh, weight.stacked_axes, weight.stacked_shape)


def _place(
    weight: Weight, sharding: Sharding, read: Callable[[str, tuple[slice, ...]], np.ndarray], dtype: np.dtype
) -> jax.Array:
    """The stacked parameter, every device's piece read from its own bytes of the file."""
    pieces: dict[tuple, np.ndarray] = {}  # replicas on several devices are read once

    def piece(index: tuple[slice, ...]) -> np.ndarray:
        spans = [part.indices(size)[:2] for part, size in zip(index, weight.stacked_shape, strict=True)]
        key = tuple(spans)
        if key not in pieces:
            layers = range(*spans.pop(0)) if weight.layers else [0]
            shape = tuple(stop - start for start, stop in spans)
            cut = tuple(_flat_slice(weight.shape, spans, group) for group in weight.hf_groups)
            out = np.empty((len(layers), *shape), dtype)
            for row, layer in enumerate(layers):
                out[row] = weight.from_hf(read(weight.hf_name.format(layer=layer), cut), shape)
            pieces[key] = out if weight.layers else out[0]
        return pieces[key]

    return jax.make_array_from_callback(weight.stacked_shape, sharding, piece)


def _flat_slice(shape: tuple[int, ...], spans: list[tuple[int, int]], group: tuple[int, ...]) -> slice:
    """The rows of a Hugging Face axis that hold `spans`: only the first of the axes it flattens may be cut."""
    inner = int(np.prod([shape[axis] for axis in group[1:]], dtype=np.int64))
    if any(spans[axis] != (0, shape[axis]) for axis in group[1:]):
        raise ValueError(f"a sharding rule cuts an inner axis of {shape}: the piece is not contiguous in the file")
    start, stop = spans[group[0]]
    return slice(start * inner, stop * inner)


def _hf_tensors(spec: ModelSpec, params: Params) -> Iterator[tuple[str, int, Callable[[], np.ndarray]]]:
    """Name, bytes and fetch of every tensor, in the table's order; a fetch brings one layer to the host."""
    arrays = jax.tree.leaves(params)
    for weight, array in zip(_weights(spec), arrays, strict=True):
        size = array.dtype.itemsize * int(np.prod(weight.shape))
        for layer, name in enumerate(weight.hf_names()):
            yield name, size, lambda weight=weight, array=array, layer=layer: weight.to_hf(
                _fetch(array[layer] if weight.layers else array)
            )


def _fetch(array: jax.Array) -> np.ndarray:
    if not array.is_fully_addressable:
        replicated = NamedSharding(array.sharding.mesh, jax.sharding.PartitionSpec())
        array = jax.jit(lambda x: x, out_shardings=replicated)(array)
    return np.asarray(array)


def _write_tensors(folder: Path, spec: ModelSpec, params: Params, max_bytes: int, writes: bool) -> None:
    """model.safetensors, or numbered files of at most `max_bytes` with their index."""
    from safetensors.numpy import save_file

    files: list[list[tuple[str, int, Callable[[], np.ndarray]]]] = [[]]
    for tensor in _hf_tensors(spec, params):
        if files[-1] and sum(size for _, size, _ in files[-1]) + tensor[1] > max_bytes:
            files.append([])
        files[-1].append(tensor)
    total, weight_map = 0, {}
    for number, tensors in enumerate(files, start=1):
        file = "model.safetensors" if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        arrays = {name: fetch() for name, _, fetch in tensors}
        total += sum(size for _, size, _ in tensors)
        weight_map |= dict.fromkeys(arrays, file)
        if writes:
            # transformers refuses files whose header does not say which library laid the tensors out.
            replace(folder / file, lambda path, arrays=arrays: save_file(arrays, path, metadata={"format": "pt"}))
    if writes and len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(folder / INDEX, index)
