"""What a process says, and its exit status, when JAX aborts it because process 0 is gone.

JAX's coordination service runs in process 0. A process that loses it is ended by C++ code (`abort`), with a stack trace
and a status that schedulers take for a crash; the callback that JAX has for this cannot be given from Python.
"""

from __future__ import annotations

import ctypes
import signal
import socket

from slick_jax.errors import Stopped
from slick_jax.processes.wakeup import end_process

_handler = None  # kept: C holds no reference to it


def explain_loss(command: str, address: str) -> None:
    """From now on, an abort while nobody listens at `address` (host:port of process 0) is told as the loss of it, with
    the status of a stopped run. Other aborts end the process as ever."""
    global _handler

    def aborted(number: int) -> None:
        if _is_gone(address):
            told = f"{command}: process 0 has ended, and with it what holds the processes together (see its output)"
            end_process(f"{told}; run the same command again, on any number of processes", Stopped.STATUS)

    # Python's own handlers run between two of its instructions, which an aborting process does not reach.
    _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _handler)


def _is_gone(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        return True
    return False
