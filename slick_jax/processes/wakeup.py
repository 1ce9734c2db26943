"""Signals for a thread that watches over the main one, however long that one sits in a call that does not return."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading

from slick_jax.errors import Stopped

ENDING = {signal.SIGTERM: Stopped.STATUS, signal.SIGINT: 130}  # signal: exit status, that of slick_jax.main


class Wakeup:
    """What a thread waits on: time, `stop`, and signals that end the process.

    Python runs handlers in the main thread, once that is back from its call; a byte in a pipe is there at once.
    SIGTERM raises Stopped in the main thread, SIGINT KeyboardInterrupt as ever. `signal`: the first that came, or None.
    """

    def __init__(self, message: str):
        self.signal: signal.Signals | None = None
        self._message, self._raised = message, False

    def open(self) -> None:
        """From now on signals are seen, where this is the main thread: elsewhere Python has none."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._handles = threading.current_thread() is threading.main_thread()
        if self._handles:
            self._before = (
                signal.set_wakeup_fd(self._write, warn_on_full_buffer=False),
                signal.signal(signal.SIGTERM, self._raise),
            )

    def wait(self, seconds: float) -> bool:
        """Wait until the time is over or a signal has come, False, or `stop` was called, True."""
        if not select.select([self._read], [], [], seconds)[0]:
            return False
        for number in os.read(self._read, 64):
            if number == 0:
                return True
            if number in ENDING and self.signal is None:
                self.signal = signal.Signals(number)
        return False

    def stop(self) -> None:
        """End the waiting; signals are again as they were before `open`."""
        if self._handles:
            signal.signal(signal.SIGTERM, self._before[1] or signal.SIG_DFL)  # None where it was not Python's
            signal.set_wakeup_fd(self._before[0])
        os.write(self._write, b"\0")

    def close(self) -> None:
        """After the waiting thread has ended."""
        os.close(self._read)
        os.close(self._write)

    def _raise(self, *_: object) -> None:
        if not self._raised:  # what the first one began to end is not broken off by the next
            self._raised = True
            raise Stopped(self._message)


def end_process(message: str, status: int) -> None:
    """Ends the process at once, from any thread: nothing waits for the main thread, or for a collective to return."""
    with contextlib.suppress(OSError):
        os.write(2, f"{message}\n".encode())  # unbuffered: the main thread may hold the lock of sys.stderr
    os._exit(status)
