"""A `slick` command in a process forked from one that has imported everything already: a start costs no imports.

What it does to files of its run folder is noted in a log beside it, and it can be told to die at one of these deeds.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import sys
import time
from pathlib import Path

import slick_jax.analysis.report
import slick_jax.knowledge.annotate
import slick_jax.longform.study
import slick_jax.training.study
import slick_jax.training.train  # noqa: F401  imported here, for those who are forked
from slick_jax.main import main
from slick_jax.processes import joining

DEEDS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def run(
    argv: list[str], run_dir: str, log: str, die_at: int | None = None, torn: bool = False, largest: int | None = None
) -> None:
    """The life of the process: output goes to `<log>.out`, deeds to `<log>.deeds`, CPU seconds to `<log>.seconds`.

    die_at: number of the deed, from 1, in whose place the process kills itself; torn: a file that was to be renamed
    there is cut in the middle first; largest: bytes that a file may have, as on a full disk.
    """
    output = os.open(f"{log}.out", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"  # read when the first device is asked for
    _watch_files(os.path.realpath(run_dir), log, die_at, torn)
    joining.START_TIMEOUT = 30  # of those that were killed before they met the others
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    try:
        sys.exit(main(argv))
    finally:
        Path(f"{log}.seconds").write_text(str(time.process_time()))


def _watch_files(run_dir: str, log: str, die_at: int | None, torn: bool) -> None:
    deeds = os.open(f"{log}.deeds", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
    numbers = itertools.count(1)

    def seen(event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if not (isinstance(flags, int) and flags & WRITING):
                return
        elif event in DEEDS:
            path = args[0]
        else:
            return
        if not isinstance(path, str | os.PathLike):
            return
        path = os.path.abspath(os.fspath(path))
        if not path.startswith(run_dir + os.sep):
            return
        number = next(numbers)
        os.write(deeds, f"{event.removeprefix('os.')} {os.path.relpath(path, run_dir)}\n".encode())
        if number == die_at:
            if torn and event == "os.rename" and Path(path).is_file():
                os.truncate(path, Path(path).stat().st_size // 2)
            Path(f"{log}.seconds").write_text(str(time.process_time()))
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(seen)
