"""The folder of a run: held by one process at a time, and bound to the settings of what is in it.

A lock of the file system tells processes of one machine, and those of machines that share locks, from each other; it
ends with the process, however that ends. Where locks do not reach other machines, a file with a sign of life does.
Folders of object stores are held as slick_jax.files.claim_on_store says.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from slick_jax.errors import InputError
from slick_jax.files import claim_on_store, run_folder, stores

OWNER = "owner.json"  # who holds the folder; touched while it does
SILENCE = 100.0  # seconds without a sign of life after which a process on another machine counts as dead
SETTLE = 1.0  # seconds after which, of two machines that took over at once, one finds the other's name


class Busy(InputError):
    """Another process is at work in the folder."""


@contextlib.contextmanager
def claimed(folder: epath.Path, record: str, settings: dict, result: str) -> Iterator[None]:
    """Holds the run folder for this process, and writes into file `record` that it is a run of `settings`.

    A run that has saved neither a checkpoint nor file `result` binds the folder to nothing: its record is replaced.
    Raises Busy when another process is at work in the folder, InputError when what is saved is of other settings.
    """
    path = folder / record
    with held(folder):
        found = run_folder.read_json(path) if _begun(folder, result) else None
        if found is not None and found != settings:
            raise InputError(
                f"{path}: this folder belongs to a run with other settings ({run_folder.differences(found, settings)});"
                " choose another config.run_dir, or remove the folder to start again"
            )
        if found is None:
            run_folder.write_json(path, settings)
        yield


@contextlib.contextmanager
def held(folder: epath.PathLike) -> Iterator[None]:
    """Holds a folder for this process, making it. Raises Busy when another one does.

    What a dead process held is taken over: at once on its own machine, after SILENCE from another one.
    """
    if stores.is_store(folder):
        folder = epath.Path(folder)
        with claim_on_store.held(folder, SILENCE, lambda where: _busy(folder, where)):
            yield
        return
    folder = Path(folder)
    with contextlib.ExitStack() as stack:
        _lock(folder, stack)
        owner = folder / OWNER
        _own(owner)
        ended = threading.Event()
        thread = threading.Thread(target=_beat, args=(owner, ended), name="claim", daemon=True)
        thread.start()
        for left in folder.glob(".*.*.tmp"):  # by atomic.replace, of a process that was killed there
            left.unlink(missing_ok=True)
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if _names_us(_read(owner)):
                owner.unlink(missing_ok=True)


def is_held(folder: epath.PathLike) -> bool:
    """Whether a living process holds the folder, this one included."""
    if stores.is_store(folder):
        return claim_on_store.holder(epath.Path(folder), SILENCE) is not None
    if not (Path(folder) / "lock").exists():
        return False
    with contextlib.ExitStack() as stack:
        try:
            _lock(Path(folder), stack)
        except Busy:
            return True
        return _holder(Path(folder) / OWNER) is not None


def seems_held(folder: epath.PathLike) -> bool:
    """Whether a process gives signs of life in the folder. Unlike `is_held` it writes nothing and touches no lock, so
    that looking never stands in the way of a process that starts."""
    if stores.is_store(folder):
        return claim_on_store.seems_held(epath.Path(folder), SILENCE)
    owner = Path(folder) / OWNER
    found, seen = _read(owner), _stamp(owner)
    if found is None or seen is None or abs(time.time() - seen / 1e9) > SILENCE:
        return False
    return found["boot"] != _boot() or _lives(found["pid"])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, TypeError, OverflowError):
        return False
    except PermissionError:
        pass  # of another user
    return True


def _begun(folder: epath.Path, result: str) -> bool:
    """Whether a checkpoint or the result has been saved."""
    return (folder / result).exists() or any(
        place.name.isdecimal() for place in (folder / "checkpoints").glob("*")
    )


def _lock(folder: Path, stack: contextlib.ExitStack) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_WRONLY)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _busy(folder) from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder}: cannot be written ({reason}); choose another config.run_dir") from error


def _busy(folder: Path | epath.Path, where: str = "") -> Busy:
    return Busy(f"{folder}: another process is at work there{where}; wait for it, or choose another config.run_dir")


def _own(owner: Path) -> None:
    """Write this process's name, in place of a dead one's. Raises Busy where a process on another machine lives."""
    holder = _holder(owner)
    if holder is not None and claim_on_store.gives_signs(owner.parent, SILENCE, lambda: _stamp(owner)):
        raise _busy(owner.parent, f", on {holder}")
    taken_over, name = owner.exists(), {"host": platform.node(), "boot": _boot(), "pid": os.getpid()}
    run_folder.write_json(owner, name)
    if taken_over:
        time.sleep(SETTLE)
        if not _names_us(_read(owner)):
            raise _busy(owner.parent)


def _stamp(owner: Path) -> int | None:
    try:
        return owner.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _names_us(found: dict | None) -> bool:
    return found is not None and (found["boot"], found["pid"]) == (_boot(), os.getpid())


def _holder(owner: Path) -> str | None:
    """The machine of a living owner elsewhere. One of this machine is dead: its lock is free."""
    found = _read(owner)
    if found is None or found["boot"] == _boot():
        return None
    probe = owner.parent / f".{uuid.uuid4().hex}.tmp"  # the file system's own time, whatever the machines' clocks say
    try:
        probe.touch()
        silent = probe.stat().st_mtime - owner.stat().st_mtime
    except FileNotFoundError:
        return None  # it has just ended
    finally:
        probe.unlink(missing_ok=True)
    return found["host"] if abs(silent) < SILENCE else None  # in the future: of before the clock was set back


def _read(owner: Path) -> dict | None:
    try:
        found = json.loads(owner.read_text())
        return found if {"host", "boot", "pid"} <= found.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _boot() -> str:
    """This machine since it was started: what its process numbers and locks hold for."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else platform.node()


def _beat(owner: Path, ended: threading.Event) -> None:
    """Give signs of life until the end. Where another process has taken over, this one must write no more: it ends."""
    last = time.monotonic()
    while not ended.wait(SILENCE / 10):
        found = _read(owner)
        if found is not None and not _names_us(found):
            claim_on_store.end_displaced(owner.parent, last)
        with contextlib.suppress(OSError):
            os.utime(owner)
            last = time.monotonic()
