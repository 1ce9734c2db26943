"""Files that are whole or not there: written under a temporary name beside their own, put on the disk, and renamed.

Objects of a store are whole or not there by themselves: they are put under their own name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from slick_jax.errors import InputError, Stopped
from slick_jax.files import stores

AnyPath = TypeVar("AnyPath", bound=Path)  # or etils.epath.Path


def replace(path: AnyPath, write: Callable[[AnyPath], Any], remedy: str = "choose another folder") -> None:
    """Lets `write` fill a temporary file and gives it the name `path`, creating the folder; what stood there before
    stays until then. Raises InputError, with `remedy`, where that cannot be done."""
    if stores.is_store(path):
        with told(path, remedy):
            write(path)
        return
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    with told(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            _await_disk(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _await_disk(path: AnyPath) -> None:
    """Returns when the content is on the disk: a machine that loses power may otherwise keep the new name of an empty
    file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def told(path: AnyPath, remedy: str = "choose another folder", *, reading: bool = False) -> Iterator[None]:
    """Within this block, where `path` is written (or read), an OSError, or of a store any error, becomes an InputError;
    one that says that the store cannot be reached becomes Stopped."""
    what = "cannot be read" if reading else "cannot be written"
    try:
        yield
    except (InputError, Stopped):
        raise
    except Exception as error:
        if stores.is_store(path):  # whose libraries have errors of their own
            if stores.is_unreachable(error):
                raise stores.unreachable(path, error) from error
            raise InputError(f"{path}: {what} ({stores.reason(error)}); {stores.REMEDY}") from error
        if not isinstance(error, OSError):
            raise
        remedy = remedy if reading else f"free space, or {remedy}"
        raise InputError(f"{path}: {what} ({error.strerror or error}); {remedy}") from error
