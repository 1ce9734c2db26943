"""`slick ls [folder]`: the run folders below a folder, a heading each, and a line for all that was done in it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from slick_jax.browsing.folders import existing, run_folders
from slick_jax.browsing.rooms import lines_of
from slick_jax.errors import InputError

RUNS = "runs"  # where configs put their run folders


def run(arguments: Sequence[str]) -> None:
    """Print the list for the folder that is named, or for RUNS. Raises InputError where there is no such folder."""
    if len(arguments) > 1 or any(one.startswith("-") for one in arguments):
        raise InputError(f"slick ls {' '.join(arguments)}: give one folder, or none for {RUNS}")
    place = existing(arguments[0] if arguments else RUNS)
    found = 0
    for folder, names in run_folders(place):
        lines = list(lines_of(folder, names))
        found += 1
        width = max((len(line.what) for line in lines), default=0)
        print(folder)
        for line in lines:
            print(f"  {line.what:<{width}}  {_clock(line.when)}  {line.state}{': ' * bool(line.numbers)}{line.numbers}")
    if not found:
        print(f"{place}: no run folders here")


def _clock(when: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) if when is not None else " " * 16
