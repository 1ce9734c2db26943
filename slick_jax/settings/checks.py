"""Checks of single settings: each yields a line `<setting>: <value and what is allowed>` where one is broken."""

from collections.abc import Iterator, Sequence

from slick_jax.errors import short


def at_least(name: str, value: float, low: float) -> Iterator[str]:
    if not value >= low:
        yield f"{name}: {value} is too small; give {low} or more"


def between(name: str, value: float, low: float, high: float) -> Iterator[str]:
    if not low <= value <= high:
        yield f"{name}: {value} is out of range; give {low} to {high}"


def above_zero(name: str, value: float) -> Iterator[str]:
    if not 0 < value < float("inf"):
        yield f"{name}: {value} must be a number above 0"


def path(name: str, value: str) -> Iterator[str]:
    """That a file system can hold this path, and files named after its last part."""
    longest = max(len(part.encode()) for part in value.split("/"))
    if longest > 200 or len(value.encode()) > 3000:
        yield f"{name}: {short(value)} is too long for a path; a name in it may have 200 bytes"
    if value.startswith("~"):
        home = value.partition("/")[0]
        yield f"{name}: {short(value)} would be a folder named {home!r}: no shell expands it there; write out the path"


def choice(name: str, value: str, allowed: Sequence[str]) -> Iterator[str]:
    if value not in allowed:
        yield f"{name}: {value!r} is unknown; allowed: {', '.join(allowed)}"


def seed(name: str, value: int) -> Iterator[str]:
    if not 0 <= value < 2**32:
        yield f"{name}: {value} is no seed; give a whole number from 0 to {2**32 - 1}"
