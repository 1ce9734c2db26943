"""Processes of a stage that are killed, and what is left of them: one attempt after the other in one run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.torture import child
from tests.torture.stages import Stage

LIMIT = 600.0  # seconds within which an attempt must have ended, whoever was killed in it
STARTED = multiprocessing.get_context("forkserver")
STARTED.set_forkserver_preload([child.__name__])


@dataclasses.dataclass
class Attempt:
    """What became of one start of a stage.

    statuses: exit status of each process, -9 where it was killed; seconds: until the last of them had ended; said: what
    they printed; deeds: what they did to files; killed: numbers of those that were; worked: CPU seconds of each that
    came to an end or was killed.
    """

    statuses: list[int]
    seconds: float
    said: str
    deeds: list[list[str]]
    killed: list[int]
    worked: list[float]

    @property
    def finished(self) -> bool:
        """Whether the stage came to its end."""
        return all(status == 0 for status in self.statuses)


@contextlib.contextmanager
def caching(folder: Path) -> Iterator[None]:
    """Within this block the first process keeps all compiled programs in `folder`, for those after it."""
    chosen = {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def attempt(
    stage: Stage,
    run_dir: Path,
    *,
    kill: Sequence[int] = (),
    after: float = 0.0,
    die_at: int | None = None,
    torn: bool = False,
    largest: int | None = None,
    number: signal.Signals = signal.SIGKILL,
    **settings: object,
) -> Attempt:
    """Start the stage in `run_dir`; `settings` are further ones of the config, with __ for a dot.

    kill: processes that get signal `number` once the first of them has worked for `after` CPU seconds, which no other
    work on the machine changes; die_at, torn, largest: see child.run.
    """
    log = run_dir.parents[1] / f"{run_dir.parent.name}-logs" / f"{time.time_ns()}"
    log.parent.mkdir(exist_ok=True)
    logs = [f"{log}-{place}" for place in range(stage.processes)]
    began = time.monotonic()
    processes = []
    for place, line in enumerate(stage.command_lines(run_dir, **settings)):
        deed = (die_at, torn) if place == 0 else (None, False)
        arguments = (line, str(run_dir), logs[place], *deed, largest)
        processes.append(STARTED.Process(target=child.run, args=arguments))
        processes[-1].start()
    try:
        killed = _kill(processes, logs, kill, after, number)
        for process in processes:
            process.join(max(0.0, began + LIMIT - time.monotonic()))
        seconds = time.monotonic() - began
        hung = [place for place, process in enumerate(processes) if process.is_alive()]
    finally:
        for process in processes:
            process.kill()
            process.join()
    said = "\n".join(_read(f"{one}.out") for one in logs)
    assert not hung, f"processes {hung} of {stage.name} hang after {LIMIT:.0f} s\n{said}"
    statuses = [process.exitcode for process in processes]
    deeds = [_read(f"{one}.deeds").splitlines() for one in logs]
    if die_at is not None and statuses[0] == -signal.SIGKILL:
        killed.append(0)
    worked = [float(_read(f"{one}.seconds") or 0.0) for one in logs]
    return Attempt(statuses, seconds, said, deeds, killed, worked)


def _kill(
    processes: list[BaseProcess], logs: list[str], chosen: Sequence[int], after: float, number: signal.Signals
) -> list[int]:
    """Those of `chosen` that were still there when it was time."""
    if not chosen:
        return []
    first, until = processes[chosen[0]], time.monotonic() + LIMIT / 2
    while first.is_alive() and _worked(first.pid) < after and time.monotonic() < until:
        time.sleep(0.005)
    killed = [place for place in chosen if processes[place].is_alive()]
    for place in killed:
        Path(f"{logs[place]}.seconds").write_text(str(_worked(processes[place].pid)))
        os.kill(processes[place].pid, number)
    return killed


def _worked(pid: int) -> float:
    """CPU seconds of a process so far; none of one that has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(path: str) -> str:
    return Path(path).read_text(errors="replace") if Path(path).exists() else ""
