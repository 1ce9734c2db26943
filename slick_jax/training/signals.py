"""SIGTERM as a question to be answered at the next step, so that work is saved before the process ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils


@contextlib.contextmanager
def noticed() -> Iterator[Callable[[int], bool]]:
    """Within this block SIGTERM only leaves a note; the block gets `asked(step)`: has it come?

    On several processes all of them answer alike at a step, by the cluster's preemption sync, which then handles the
    signal itself. Outside the main thread, where Python sees no signals, nothing is noticed.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield lambda step: False
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield lambda step: came.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
