"""Files that are whole or not there: written under a temporary name beside their own, and renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from slick_jax.errors import InputError

AnyPath = TypeVar("AnyPath", bound=Path)  # or etils.epath.Path


def replace(path: AnyPath, write: Callable[[AnyPath], Any], remedy: str = "choose another folder") -> None:
    """Lets `write` fill a temporary file and gives it the name `path`, creating the folder; what stood there before
    stays until then. Raises InputError, with `remedy`, where that cannot be done."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    with told(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def told(path: AnyPath, remedy: str = "choose another folder") -> Iterator[None]:
    """Within this block, where `path` is written, an OSError becomes an InputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written ({reason}); free space, or {remedy}") from error
