"""The folder of a run on an object store: held by one process at a time, as slick_jax.files.claim does on disks.

A store has no locks, but it puts an object only where there is none, if asked to. The newest of the objects
`owner-<n>.json` tells who holds the folder, and is put again as a sign of life; at the end it says that nobody does. To
take a folder over is to put `owner-<n+1>.json`, which of several processes one alone can do; numbers only grow, so that
none is won twice. A holder that was only slow finds the newer object, and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from slick_jax.errors import InputError, Stopped
from slick_jax.files import stores
from slick_jax.processes.wakeup import end_process


@contextlib.contextmanager
def held(folder: epath.Path, silence: float, busy: Callable[[str], InputError]) -> Iterator[None]:
    """Holds a folder of a store for this process.

    silence: seconds without a sign of life, by the store's clock, after which a process counts as dead; busy: the error
    of a folder that another process holds, from the machine it runs on.
    """
    name = {"host": platform.node(), "pid": os.getpid(), "id": uuid.uuid4().hex, "beat": 0}
    own = _take(folder, name, silence, busy)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(own, name, silence, ended), name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(Exception):  # the work is done; others wait for the silence then
            own.write_bytes(_bytes({"host": ""}))


def holder(folder: epath.Path, silence: float) -> str | None:
    """The machine of the living process that holds the folder, if one does, this one included."""
    owners = _owners(folder)
    if not owners:
        return None
    newest, probe = owners[-1], folder / f"probe-{uuid.uuid4().hex}"
    try:
        host = json.loads(newest.read_text())["host"]
        if not host:
            return None
        probe.write_bytes(b"")  # the store's own time, whatever the machines' clocks say
        return host if probe.stat().mtime - newest.stat().mtime < silence else None
    except FileNotFoundError:
        return None  # the folder has just been removed
    finally:
        probe.unlink(missing_ok=True)


def seems_held(folder: epath.Path, silence: float) -> bool:
    """Whether the newest object of an owner is younger than `silence`, by this machine's clock; writes nothing."""
    owners = _owners(folder)
    try:
        alive = bool(owners and json.loads(owners[-1].read_text())["host"])
        return alive and time.time() - owners[-1].stat().mtime < silence
    except FileNotFoundError:
        return False  # it has just been removed


def _take(folder: epath.Path, name: dict, silence: float, busy: Callable[[str], InputError]) -> epath.Path:
    """Put this process's object, or raise `busy`; what older ones left is removed."""
    owners = _owners(folder)
    found = holder(folder, silence)
    if found is not None and gives_signs(folder, silence, lambda: _newest(folder)):
        raise busy(f", on {found}")
    own = folder / f"owner-{_number(owners[-1]) + 1 if owners else 1:06}.json"
    if not stores.create(own, _bytes(name)):
        raise busy("")
    if _owners(folder)[-1] != own:  # others have come and gone since the first look, and the newest is at work
        own.unlink(missing_ok=True)
        raise busy("")
    for older in owners:
        older.unlink(missing_ok=True)
    return own


def gives_signs(folder: os.PathLike, silence: float, look: Callable[[], Any]) -> bool:
    """Whether the holder of a folder gives a sign of life, which changes what `look` returns (None: nobody holds it).

    A machine that was lost gives none, and a scheduler may have started its job anew at once.
    """
    seen, until = look(), time.monotonic() + silence
    print(f"{folder}: held by another process; waiting {silence:.0f} s for a sign of life", flush=True)
    while time.monotonic() < until:
        time.sleep(silence / 20)
        if (now := look()) != seen:
            return now is not None  # None: it has just ended
    return False


def end_displaced(folder: os.PathLike, last: float) -> None:
    """Ends this process, whose `last` sign of life (by time.monotonic) was so long ago that another one has taken the
    folder over."""
    quiet = f"no sign of life of this process came through for {time.monotonic() - last:.0f} s"
    end_process(f"{folder}: another process has taken over, as {quiet}", Stopped.STATUS)


def _newest(folder: epath.Path) -> str | None:
    """What the newest object says, where somebody holds the folder."""
    with contextlib.suppress(FileNotFoundError, IndexError):
        said = _owners(folder)[-1].read_text()
        return said if json.loads(said)["host"] else None
    return None


def _bytes(name: dict) -> bytes:
    return json.dumps(name).encode()


def _owners(folder: epath.Path) -> list[epath.Path]:
    """The objects of all that hold or held the folder, the newest last."""
    return sorted(folder.glob("owner-*.json"), key=_number)


def _number(owner: epath.Path) -> int:
    return int(owner.name.removeprefix("owner-").removesuffix(".json"))


def _beat(own: epath.Path, name: dict, silence: float, ended: threading.Event) -> None:
    """Give signs of life until the end. Where another process has taken over, this one must write no more: it ends."""
    last = time.monotonic()
    while not ended.wait(silence / 10):
        with contextlib.suppress(Exception):  # the network may be back before the silence is over
            newest = _owners(own.parent)[-1:] or [own]  # none where the folder was removed
            if newest != [own]:
                end_displaced(own.parent, last)
            name["beat"] += 1
            own.write_bytes(_bytes(name))
            last = time.monotonic()
