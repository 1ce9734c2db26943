"""Hub ids in place of model folders: `org/name` or `org/name@revision`, fetched by huggingface_hub into its cache.

The only place that knows the hub. A folder on disk always wins, so that nothing is asked of the network for it.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from slick_jax.commands import COMMANDS
from slick_jax.errors import InputError
from slick_jax.models.hf_folder import INDEX, TOKENIZER_FILES, read_config, tensor_names

if TYPE_CHECKING:
    from slick_jax.config import Config

WITHOUT_TENSORS = ("plan",)  # reads the small files alone
_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^@\s]+))?")
_SMALL = ("config.json", INDEX, *TOKENIZER_FILES)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model folder; `source` is `org/name@commit` where it came from the hub, else empty."""

    folder: str
    source: str = ""


def resolve_config(config: Config, command: str, tensors: bool = True) -> Config:
    """The config with the folder in place of a hub id in the setting that `command` reads its model from.

    The base of adapters is fetched where it is needed (slick_jax/tuned.py). `model.source` then says which commit it
    is. Without `tensors` only the small files are fetched. Raises InputError as `resolve` does.
    """
    chosen = [name for name in _named_by(command) if _get(config, name)][:1]
    for name in chosen:
        found = resolve(_get(config, name), name, tensors=tensors and command not in WITHOUT_TENSORS)
        if found.source:
            group, leaf = name.split(".")
            changed = dataclasses.replace(getattr(config, group), **{leaf: found.folder})
            config = dataclasses.replace(config, **{group: changed})
            config = dataclasses.replace(config, model=dataclasses.replace(config.model, source=found.source))
    return config


def resolve(path: str, setting: str = "model.path", tensors: bool = True) -> Model:
    """The folder that `path` stands for: itself, or the snapshot of a hub id, fetched where the cache has it not.

    config.json, tokenizer and, with `tensors`, safetensors are fetched, never pickled weights. Offline
    (HF_HUB_OFFLINE=1) the cache must have them. What can be no hub id comes back as it is. Raises InputError, which
    names `setting`, when neither a folder nor the hub has it.
    """
    matched = _hub_id(path, setting)
    if matched is None:
        return Model(path)
    folder = Path(_fetch(matched["repo"], matched["revision"], setting, tensors))
    return Model(str(folder), f"{matched['repo']}@{folder.name}")


def problems(config: Config, command: str) -> list[str]:
    """What is wrong with the folder that `command` reads its model from, as far as the disk tells; the hub is not
    asked."""
    if _named_by(command) != ("model.path",) or not config.model.path:
        return []
    try:
        if _hub_id(config.model.path, "model.path") is None:
            read_config(config.model.path)
    except InputError as error:
        return [str(error)]
    return []


def _named_by(command: str) -> tuple[str, ...]:
    return COMMANDS[command].model if command in COMMANDS else ()


def _hub_id(path: str, setting: str) -> re.Match[str] | None:
    """The parts of a hub id; None for a folder, and for what can be no hub id. Raises InputError where the folder is
    missing in one that is there."""
    matched = _ID.fullmatch(path)
    if os.path.isdir(path) or not matched:
        return None
    parent = Path(path).parent
    if parent.is_dir() and not matched["revision"]:
        raise InputError(
            f"config.{setting}: {path!r}: folder {str(parent)!r} is there, but has no folder {Path(path).name!r} in it;"
            f" correct the path, or ask the hub for {path}@main"
        )
    return matched


def _fetch(repo: str, revision: str | None, setting: str, fetch_tensors: bool) -> str:
    """The snapshot folder of a repository: first its small files, then the tensor files that its index names, or only
    whether the repository has those, as far as the hub can be asked."""
    # Imported here: models/ must import where huggingface_hub is not installed.
    from huggingface_hub import constants, errors, list_repo_files, snapshot_download

    name = f"{repo}@{revision}" if revision else repo
    place = f"config.{setting}: {name!r} is no folder here, and as a hub id"
    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=list(_SMALL)))
        tensors, listed = tensor_names(folder), set()
        if fetch_tensors:
            snapshot_download(repo, revision=folder.name, allow_patterns=tensors)
        else:
            listed = set(tensors if constants.HF_HUB_OFFLINE else list_repo_files(repo, revision=folder.name))
    except errors.GatedRepoError as error:
        raise InputError(
            f"{place} it is gated: accept its terms at https://huggingface.co/{repo}, then `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{place} it is not known, or private; correct the path or the id, or `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{place} it has no revision {revision!r}; give a branch, tag or commit of {repo}") from error
    except errors.LocalEntryNotFoundError as error:
        raise InputError(
            f"{place} it is not (or not wholly) in the cache, {_cache()}, and the hub {_unreachable()}"
        ) from error
    except InputError:
        raise
    except Exception as error:  # proxies, full disks, ids that the hub does not allow: told as they come
        raise InputError(f"{place} it cannot be fetched ({type(error).__name__}: {error})") from error
    missing = [file for file in ("config.json", *tensors) if not (folder / file).is_file() and file not in listed]
    if missing:
        raise InputError(
            f"{place} it has no {', '.join(missing[:3])}, or only a part of it is in the cache, {_cache()}, and the hub"
            f" {_unreachable()}. Only safetensors are fetched, as other formats can run code"
        )
    return str(folder)


def _unreachable() -> str:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "is not asked (HF_HUB_OFFLINE is set): unset it, or copy the model into a folder and give its path"
    return "cannot be reached: check the path and the network, or copy the model into a folder and give its path"


def _cache() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def _get(config: Config, name: str) -> str:
    group, leaf = name.split(".")
    return getattr(getattr(config, group), leaf)
