"""Which processes work on a study: each holds a folder of its own below the run folder, so that the last one knows."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator

from etils import epath

from slick_jax.claim import held, is_held

FOLDER = "study"  # in the run folder, while a study is at work


@contextlib.contextmanager
def told(run_dir: epath.PathLike) -> Iterator[Callable[[], bool]]:
    """Tells others that this process is at work; what it yields says, afterwards, whether no other one is.

    Of processes that end at the same moment each goes first and then looks, so that one of them at least is the last.
    """
    folder = epath.Path(run_dir) / FOLDER
    own = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        with held(own):
            yield lambda: _alone(folder)
    finally:
        _remove(own)


def _alone(folder: epath.Path) -> bool:
    """Whether no living process is in `folder`; what dead ones left goes."""
    others = [place for place in folder.iterdir() if place.is_dir()] if folder.exists() else []
    if any(is_held(place) for place in others):
        return False
    _remove(folder)
    return True


def _remove(folder: epath.Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmtree(missing_ok=True)
