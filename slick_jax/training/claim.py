"""The folder of a training run: held by one process at a time, and bound to the settings of what is in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from etils import epath

from slick_jax import run_folder
from slick_jax.errors import InputError


@contextlib.contextmanager
def claimed(folder: epath.Path, record: str, settings: dict, result: str) -> Iterator[None]:
    """Holds the run folder for this process, and writes into file `record` that it is a run of `settings`.

    A run that has saved neither a checkpoint nor file `result` binds the folder to nothing: its record is replaced.
    Raises InputError when another process is at work in the folder, or when what is saved is of other settings. The
    lock ends with the process, however that ends.
    """
    path = folder / record
    with contextlib.ExitStack() as stack:
        _lock(folder, stack)
        found = run_folder.read_json(path) if _begun(folder, result) else None
        if found is not None and found != settings:
            raise InputError(
                f"{path}: this folder belongs to a run with other settings ({run_folder.differences(found, settings)});"
                " choose another config.run_dir, or remove the folder to start again"
            )
        if found is None:
            run_folder.write_json(path, settings)
        yield


def _begun(folder: epath.Path, result: str) -> bool:
    """Whether a checkpoint or the result has been saved."""
    return (folder / result).exists() or any(
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
            f"{folder}: another process is at work there; wait for it, or choose another config.run_dir"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder}: cannot be written ({reason}); choose another config.run_dir") from error
