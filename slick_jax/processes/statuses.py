"""Exit statuses of a process, as slick_jax.main gives them, and the errors that end others of its run alike."""

from __future__ import annotations

from slick_jax.errors import InputError, Stopped


class Failed(Exception):
    """Another process has ended with an error of the program, and so does this one."""


FINAL = {1: Failed, 2: InputError}  # a start again would end alike; after all else it goes on


def of(error: BaseException) -> int:
    """The exit status of a process that ends with this error."""
    if isinstance(error, Stopped) or not isinstance(error, Exception):
        return Stopped.STATUS
    full = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return 2 if full or isinstance(error, InputError) else 1


def error(status: int, message: str) -> Exception:
    """What ends a process with this status."""
    return FINAL.get(status, Stopped)(message)
