"""Parameters written as a Hugging Face folder that transformers loads."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from slick_jax.compilation import jitted
from slick_jax.models.hf_folder import (
    INDEX,
    TOKEN_IDS,
    copy_tokenizer,
    read_config,
    start_writing,
    write_json,
    write_tensors,
)
from slick_jax.models.spec import ModelSpec, spec_to_hf
from slick_jax.models.transformer import Network, Params
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table

HfTensor = tuple[str, int, Callable[[], np.ndarray]]  # name, bytes, and what brings it to the host


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
    if source is not None and source.resolve() != folder.resolve():
        copy_tokenizer(source, folder)
    ids = {name: value for name, value in extra.items() if name in TOKEN_IDS}
    if source is None or not (source / "generation_config.json").is_file():
        write_json(folder / "generation_config.json", {"_from_model_config": True, **ids})
    dtype = str(jax.tree.leaves(params)[0].dtype)
    # Both names of the dtype: transformers 5 writes the second, version 4 reads the first.
    write_json(folder / "config.json", spec_to_hf(network.spec, torch_dtype=dtype, dtype=dtype, **extra))


def _hf_tensors(spec: ModelSpec, params: Params) -> Iterator[HfTensor]:
    """Every tensor of the checkpoint in the table's order; a fetch brings what one tensor holds to the host."""
    weights = jax.tree.leaves(weight_table(spec), is_leaf=lambda node: isinstance(node, Weight))
    tensors: dict[str, list[tuple[Weight, jax.Array, tuple[int, ...]]]] = {}
    for weight, array in zip(weights, jax.tree.leaves(params), strict=True):
        for index in np.ndindex(weight.lead):
            tensors.setdefault(weight.hf_name_at(index), []).append((weight, array, index))
    for name, parts in tensors.items():
        weight, array, _ = parts[0]
        size = array.dtype.itemsize * int(np.prod(weight.hf_shape))
        yield name, size, lambda parts=parts: _joined(parts)


def _joined(parts: list[tuple[Weight, jax.Array, tuple[int, ...]]]) -> np.ndarray:
    """One Hugging Face tensor from the weights that lie in it."""
    tensor = np.empty(parts[0][0].hf_shape, parts[0][1].dtype)
    for weight, array, index in parts:
        weight.write_hf(tensor, fetch(array[index]))
    return tensor


def fetch(array: jax.Array) -> np.ndarray:
    """The whole array on the host, whichever processes hold its pieces; all of them must call this."""
    if not array.is_fully_addressable:
        replicated = NamedSharding(array.sharding.mesh, jax.sharding.PartitionSpec())
        array = jitted(_same, out_shardings=replicated)(array)
    return np.asarray(array)


def _same(array: jax.Array) -> jax.Array:
    return array


def _write_tensors(folder: Path, spec: ModelSpec, params: Params, max_bytes: int, writes: bool) -> None:
    """model.safetensors, or numbered files of at most `max_bytes` with their index."""
    files: list[list[HfTensor]] = [[]]
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
            write_tensors(folder / file, arrays)
    if writes and len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(folder / INDEX, index)
