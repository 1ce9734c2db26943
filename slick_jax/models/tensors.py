"""Which tensors a model folder has, and whether they are those that its config.json asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from slick_jax.errors import InputError
from slick_jax.models.families import layout_of
from slick_jax.models.hf_folder import open_tensors
from slick_jax.models.safetensors_file import FLOATS, TensorFile
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table

# Buffers that old exports kept beside the weights; they follow from the config.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".masked_bias", ".attn.bias", ".attention.bias")


class Tensor(NamedTuple):
    """A tensor of a model folder: its file, and its name there."""

    file: TensorFile
    name: str

    @property
    def dtype(self) -> np.dtype:
        """Its type in the file."""
        return FLOATS[self.file.entries[self.name].dtype]


Where = Mapping[str, Tensor]


def check_tensors(folder: str | Path, spec: ModelSpec) -> dict[str, Tensor]:
    """Where every tensor of `folder` is, once names and shapes are known to fit `spec`; no weights are read.

    Raises InputError listing all missing, unexpected and mis-shaped tensors together.
    """
    where = _qualified(spec, open_tensors(folder))
    problems = _account(spec, where) or _untied(spec, where)
    if problems:
        raise InputError.of(problems, f"{folder}: the tensors do not fit its config.json")
    return where


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
