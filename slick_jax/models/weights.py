"""Hugging Face folders in and out: config.json and safetensors."""

import functools
import hashlib
from pathlib import Path

from slick_jax.models.hf_folder import read_config, tensor_files
from slick_jax.models.loading import load_hf
from slick_jax.models.saving import save_hf
from slick_jax.models.spec import ModelSpec, spec_from_hf
from slick_jax.models.tensors import check_tensors

__all__ = ["check_tensors", "fingerprint", "load_hf", "read_spec", "save_hf"]


def read_spec(folder: str | Path) -> ModelSpec:
    """The architecture of a model folder."""
    return spec_from_hf(read_config(folder), str(Path(folder) / "config.json"))


def fingerprint(folder: str | Path) -> str:
    """Sha256 over config.json and the safetensors files (names and bytes): what the model of a run is told by.

    All bytes are read once per process; after that a file is known by its size and the time of its last change.
    """
    read_config(folder)
    paths = [Path(folder).resolve() / "config.json", *(path.resolve() for path in tensor_files(folder))]
    names = ["config.json", *(path.name for path in tensor_files(folder))]
    stats = [path.stat() for path in paths]
    return _digest(tuple(
        (name, path, stat.st_size, stat.st_mtime_ns, stat.st_ino)
        for name, path, stat in zip(names, paths, stats, strict=True)
    ))  # fmt: skip


@functools.lru_cache(maxsize=64)
def _digest(files: tuple[tuple[str, Path, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, path, size, _, _ in files:
        digest.update(f"{name}\0{size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
