"""Worker processes on one machine: the same work in each of them, with a share of the CPU's cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from slick_jax.config import Config
from slick_jax.errors import InputError, Stopped
from slick_jax.garbage import collect_rarely
from slick_jax.processes import signals

WAIT = 0.5  # seconds between two looks at the workers
Failed = dict[str, list[str]]


def share(config: Config, work: Callable[..., Failed], watch: Callable[[], None]) -> tuple[Failed, int]:
    """Run `work(config)` in `config.study.processes` processes at once; `watch` is called while they run.

    One that dies is not started again: the others take over what it held. Returns what failed in any of them, and how
    many an error of the program has ended, whose tracebacks stand in the output. Raises InputError on an accelerator,
    whose memory one process takes; Stopped when a signal came, with the workers stopped.
    """
    import jax

    if jax.default_backend() != "cpu":
        raise InputError(
            f"config.study.processes: {config.study.processes}, but this machine computes on {jax.default_backend()};"
            " leave it at 1, and start `slick study` once for each device, seeing that device alone"
            " (CUDA_VISIBLE_DEVICES)"
        )
    spawn = multiprocessing.get_context("spawn")
    running: list[tuple[BaseProcess, Connection]] = []
    said: dict[int, dict[str, Any]] = {}
    with signals.noticed() as sigterm:
        try:
            for cores in _shares(config.study.processes):
                ours, theirs = spawn.Pipe(duplex=False)
                process = spawn.Process(target=_work, args=(config, work, cores, theirs), daemon=True)
                process.start()
                theirs.close()
                running.append((process, ours))
            while _listen(running, said) and not sigterm.came:
                watch()
                time.sleep(WAIT)
        finally:
            for process, _ in running:
                process.terminate()
            while _listen(running, said):
                time.sleep(WAIT)
    stopped = [one["stopped"] for one in said.values() if "stopped" in one]
    if sigterm.came or stopped:
        raise Stopped(stopped[0] if stopped else "stopped by a signal; run it again")
    failed: Failed = {}
    for one in said.values():
        for problem, names in one.get("failed", {}).items():
            failed[problem] = sorted({*failed.get(problem, ()), *names})
    return failed, sum(process.exitcode == 1 for process, _ in running)


def _shares(processes: int) -> list[set[int]]:
    """Cores of every process: an equal share each, or one more; all of them where they are fewer than processes."""
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return [set()] * processes
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[number::processes] or cores) for number in range(processes)]


def _work(config: Config, work: Callable[..., Failed], cores: set[int], pipe: Connection) -> None:
    """The whole life of a worker."""
    if cores:
        os.sched_setaffinity(0, cores)  # before the first computation: XLA makes a thread for each core it may use
    collect_rarely()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        pipe.send({"failed": work(config)})
    except Stopped as stopped:
        pipe.send({"stopped": str(stopped)})
    except InputError as error:
        pipe.send({"failed": {str(error): ["the study"]}})
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with(parent: int) -> None:
    """A worker whose parent was killed stops, too: nobody would see what it does."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(Stopped.STATUS)


def _listen(running: Sequence[tuple[BaseProcess, Connection]], said: dict[int, dict[str, Any]]) -> bool:
    """Put what the workers have sent into `said`, by their numbers; whether one of them was still there.

    A worker with more to say than a pipe holds cannot end before it is heard.
    """
    there = any([process.is_alive() for process, _ in running])  # asked before: what one says comes before its end
    for number, (_, pipe) in enumerate(running):
        with contextlib.suppress(EOFError, OSError):  # it has ended, maybe while it spoke
            if pipe.poll():
                said[number] = pipe.recv()
    return there
