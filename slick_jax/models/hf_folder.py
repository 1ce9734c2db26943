"""Files of a Hugging Face model folder: which ones there are, which are refused, and how they are written whole."""

import json
import os
import shutil
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slick_jax.errors import InputError, short
from slick_jax.files import atomic
from slick_jax.files.json_text import parse
from slick_jax.models.safetensors_file import TensorFile

INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
    "vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json",
)  # fmt: skip
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_REFUSED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".gguf")


def read_config(folder: str | Path) -> dict[str, Any]:
    """The parsed config.json of a model folder. Raises InputError when folder, file or JSON is not there."""
    folder = Path(folder)
    path = folder / "config.json"
    if not os.path.isdir(folder):
        raise InputError(
            f"{folder}: no such folder; give a Hugging Face model folder, or a hub id with its owner, such as"
            " openai-community/gpt2"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; a model folder holds config.json and model.safetensors")
    try:
        config = parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); copy the file again") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds no JSON object; copy the file again")
    return config


def tensor_files(folder: str | Path) -> list[Path]:
    """The safetensors files of a model folder. Raises InputError, which names files of formats that are not read."""
    folder = Path(folder)
    names = tensor_names(folder)
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return [folder / name for name in names]
    if (folder / INDEX).is_file():
        raise InputError(f"{folder / INDEX} names files that are not there: {', '.join(missing)}; copy them again")
    others = sorted(path.name for path in folder.glob("*") if path.suffix in _REFUSED)
    if others:
        raise InputError(
            f"{folder}: {', '.join(others)}: this format is not read, as it can run code or keeps no plain tensors; "
            "save the model as safetensors (transformers: save_pretrained(folder, safe_serialization=True))"
        )
    raise InputError(f"{folder}: no model.safetensors; a model folder holds config.json and model.safetensors")


def tensor_names(folder: Path) -> list[str]:
    """Names of the files that hold a model folder's tensors, there or not: those of its index, or the usual one."""
    index = folder / INDEX
    if not index.is_file():
        return ["model.safetensors"]
    try:
        names = sorted(set(parse(index.read_bytes())["weight_map"].values()))
        outside = [name for name in names if Path(name).name != name or not _is_file_name(name)]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index}: no valid index of safetensors files ({error!r}); copy it again") from None
    if outside:
        named = ", ".join(map(short, outside))
        raise InputError(f"{index} names {named}, not there: it may only name safetensors files beside it")
    return names


def open_tensors(folder: str | Path) -> dict[str, TensorFile]:
    """Tensor name -> safetensors file that holds it; nothing is read yet but the headers."""
    found: dict[str, TensorFile] = {}
    for path in tensor_files(folder):
        file = TensorFile(path)
        twice = [name for name in file.entries if name in found]
        if twice:
            raise InputError(f"{path}: {short(twice[0])} is in {found[twice[0]].path.name}, too; copy the folder again")
        found |= dict.fromkeys(file.entries, file)
    return found


def _is_file_name(name: str) -> bool:
    """Of a safetensors file that a file system can hold."""
    return name.endswith(".safetensors") and name.isprintable() and len(name.encode()) <= 255


def start_writing(folder: Path) -> None:
    """Creates `folder`, or takes from it what makes it a model: unfinished, it must not pass for one.

    Raises InputError where it cannot be written.
    """
    # Beside a model, adapters would be applied to it.
    adapter = ("adapter_config.json", "adapter_model.safetensors", "lora.json")
    with atomic.told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in ("config.json", INDEX, "model.safetensors", "model-*-of-*.safetensors", *adapter):
            for path in folder.glob(pattern):
                path.unlink()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Indented JSON with sorted keys."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    atomic.replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """A safetensors file as transformers and peft read it: they want its header to say who laid the tensors out."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    def write(temporary: Path) -> None:
        try:
            save_file(dict(tensors), temporary, metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk, say
            raise OSError(str(error)) from error

    atomic.replace(path, write)


def copy_tokenizer(source: Path, folder: Path, but: Container[str] = ()) -> None:
    """Copies the tokenizer files of a model folder that it has, those of `but` left out."""
    for name in TOKENIZER_FILES:
        if name not in but and (source / name).is_file():
            atomic.replace(folder / name, lambda temporary, name=name: shutil.copyfile(source / name, temporary))
