"""Files of a Hugging Face model folder: which ones there are, which are refused, and how they are written whole."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slick_jax.errors import InputError
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
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; give a Hugging Face model folder, or a hub id with its owner, such as"
            " openai-community/gpt2"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; a model folder holds config.json and model.safetensors")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); copy the file again") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds no JSON object; copy the file again")
    return config


def tensor_files(folder: str | Path) -> list[Path]:
    """The safetensors files of a model folder. Raises InputError, which names files of formats that are not read."""
    folder = Path(folder)
    if (folder / INDEX).is_file():
        names = index_files(folder)
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise InputError(f"{folder / INDEX} names files that are not there: {', '.join(missing)}; copy them again")
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    others = sorted(path.name for path in folder.glob("*") if path.suffix in _REFUSED)
    if others:
        raise InputError(
            f"{folder}: {', '.join(others)}: this format is not read, as it can run code or keeps no plain tensors; "
            "save the model as safetensors (transformers: save_pretrained(folder, safe_serialization=True))"
        )
    raise InputError(f"{folder}: no model.safetensors; a model folder holds config.json and model.safetensors")


def index_files(folder: Path) -> list[str]:
    """Names of the files that the index of a model folder spreads its tensors over, there or not."""
    index = folder / INDEX
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        outside = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index}: no valid index of safetensors files ({error!r}); copy it again") from None
    if outside:
        named = ", ".join(outside)
        raise InputError(f"{index} names {named}, not there: it may only name safetensors files beside it")
    return names


def open_tensors(folder: str | Path) -> dict[str, TensorFile]:
    """Tensor name -> safetensors file that holds it; nothing is read yet but the headers."""
    files = [TensorFile(path) for path in tensor_files(folder)]
    return {name: file for file in files for name in file.entries}


def start_writing(folder: Path) -> None:
    """Creates `folder`, or takes from it what makes it a model: unfinished, it must not pass for one."""
    folder.mkdir(parents=True, exist_ok=True)
    # Beside a model, adapters would be applied to it.
    adapter = ("adapter_config.json", "adapter_model.safetensors", "lora.json")
    for pattern in ("config.json", INDEX, "model.safetensors", "model-*-of-*.safetensors", *adapter):
        for path in folder.glob(pattern):
            path.unlink()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Indented JSON with sorted keys."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets `write` fill a temporary file and renames it, so that a killed run leaves no half file."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
