"""SIGTERM as a question to be answered at the next step, so that work is saved before the process ends."""

from __future__ import annotations

import contextlib
import signal
import threading
import types
from collections.abc import Iterator

from slick_jax.errors import Stopped


class Sigterm:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self.came = False
        self._at_once: str | None = None

    def __call__(self, *_: object) -> None:
        """The signal handler. What the first signal has begun to end is not broken off by the next."""
        first, self.came = not self.came, True
        if first and self._at_once is not None:
            raise Stopped(self._at_once)

    @contextlib.contextmanager
    def at_once(self, message: str) -> Iterator[None]:
        """Within this block, where nothing can be lost, the signal raises Stopped with `message`."""
        self._at_once = message
        try:
            if self.came:
                raise Stopped(message)
            yield
        finally:
            self._at_once = None


@contextlib.contextmanager
def noticed() -> Iterator[Sigterm]:
    """Within this block SIGTERM only leaves a note. Outside the main thread, where Python sees no signals, nothing is
    noticed."""
    sigterm = Sigterm()
    if threading.current_thread() is not threading.main_thread():
        yield sigterm
        return
    before = signal.signal(signal.SIGTERM, sigterm)
    try:
        yield sigterm
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Within this block SIGTERM and Ctrl-C wait for its end: for calls of libraries that take the exception of a signal
    handler for one of their own. A second Ctrl-C does not wait. Outside the main thread, which alone runs handlers,
    nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: types.FrameType | None) -> None:
        if number == signal.SIGINT and number in came:
            signal.default_int_handler(number, frame)
        came.append(number)

    heard = [one for one in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None where it was not Python's
        if came:
            signal.raise_signal(came[0])
