"""The folder of a training run: held by one process at a time, and bound to the settings of what is in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

import jax
from etils import epath

from slick_jax import run_folder
from slick_jax.errors import InputError

RECORD = "train.json"  # the settings of the run


@contextlib.contextmanager
def claimed(folder: epath.Path, fields: dict) -> Iterator[None]:
    """Holds the run folder for this process, and marks it as a run of `fields`.

    A run that has saved nothing yet binds the folder to nothing: its record is replaced. Raises InputError when another
    process is at work in it, or when its checkpoints or results are of other settings. The lock ends with the process,
    however that ends; folders that are not local have none.
    """
    path = folder / RECORD
    with contextlib.ExitStack() as stack:
        if "://" not in str(folder) and jax.process_index() == 0:
            _lock(folder, stack)
        found = run_folder.read_json(path) if _begun(folder) else None
        if found is not None and found != fields:
            raise InputError(
                f"{path}: this folder belongs to a run with other settings ({run_folder.differences(found, fields)});"
                " choose another config.run_dir or train.seed, or remove the folder to start again"
            )
        if found is None and jax.process_index() == 0:
            run_folder.write_json(path, fields)
        yield


def _begun(folder: epath.Path) -> bool:
    """Whether a checkpoint or a result has been saved."""
    return (folder / "result.json").exists() or any(
        place.name.isdecimal() for place in (folder / "checkpoints").glob("*")
    )


def _lock(folder: epath.Path, stack: contextlib.ExitStack) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_WRONLY)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{folder}: another process is training there; wait for it, or choose another config.run_dir"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder}: cannot be written ({reason}); choose another config.run_dir") from error
