"""Which processes work on a study: each holds a folder of its own below the run folder, so that the last one knows."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator

from etils import epath

from slick_jax.files.claim import held, is_held

FOLDER = "study"  # in the run folder, while a study is at work
FAILURES = "failures"  # in that one: what the processes tell each other of runs that failed


@contextlib.contextmanager
def told(run_dir: epath.PathLike) -> Iterator[Callable[[], bool]]:
    """Tells others that this process is at work; what it yields says, afterwards, whether no other one is.

    Of processes that end at the same moment each goes first and then looks, so that one of them at least is the last.
    """
    folder = epath.Path(run_dir) / FOLDER
    own = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    if not _others(folder):
        _remove(folder / FAILURES)  # of processes that were killed
    try:
        with held(own):
            yield lambda: _alone(folder)
    finally:
        _remove(own)


def _alone(folder: epath.Path) -> bool:
    """Whether no living process is in `folder`; what dead ones left goes."""
    if _others(folder):
        return False
    _remove(folder)
    return True


def _others(folder: epath.Path) -> bool:
    """Whether a living process is in `folder`."""
    return folder.exists() and any(is_held(place) for place in folder.iterdir() if place.is_dir())


def _remove(folder: epath.Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmtree(missing_ok=True)
