"""Signs of life and agreements between the processes of a run: small files on the folder that they share.

Files and no collectives: one process that hangs within a collective is noticed by the others, and nothing is held by a
process that is not on the disk as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from etils import epath

from slick_jax.errors import Stopped
from slick_jax.files import atomic, run_folder
from slick_jax.processes import statuses
from slick_jax.processes.wakeup import ENDING, Wakeup, end_process

FOLDER = "processes"  # in the folder of a run, while several processes are at work on it
LOST = ("failed", "stopped", "silent")
ENDED = ("finished", *LOST)
LINGER = 15.0  # seconds that process 0, which holds JAX's coordination service, waits for the others to end after it
GRACE = 5.0  # seconds for the main thread to end the work itself, after a signal or the end of a mate
OUT_OF_TOUCH = ("Gloo", "DEADLINE_EXCEEDED")  # in what JAX raises where a collective got no answer in time
POLL = 0.2  # seconds between two looks for what process 0 tells

Value = TypeVar("Value")

_worked = False  # whether this process has worked beside others
_job = "alone"  # names the files of these processes: others in the folder are of a job before, or beside them


def name_job(name: str) -> None:
    """Give these processes a name that all of them know and no others have."""
    global _job
    _job = name


def leave(status: int) -> None:
    """The last call of a command: where this process has worked beside others and failed, ends it here with `status`.

    The interpreter's own end would wait for collectives that have begun, and the others may be gone.
    """
    if not _worked or status == 0:
        return
    error = sys.exc_info()[1]
    if isinstance(error, statuses.Failed):  # the traceback is in the output of the other one
        print(error, file=sys.stderr)
    elif error is not None:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


class Peers:
    """The processes of this run, as one of them sees the others; with one process, everything here does nothing.

    A process writes its state and a counter every few seconds. Another one counts as silent when its file has not
    changed for `silence` seconds of this process's clock. `mates` work in lock-step with this one: when one of them
    ends, this process does too, as it may be waiting for it within a collective that never returns. For the same reason
    SIGTERM and SIGINT end this process GRACE seconds after they came, if the main thread has not done it by then.

    What ends because of another process has its exit status where that one failed (InputError, statuses.Failed), as a
    start again would fail alike, and is Stopped where it was lost.

    command, resumes: for messages, who speaks and from where the same command goes on. saves: SIGTERM is answered by
    saving, which takes its time: it ends the process only where a mate gives no sign of life, or after `silence`.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        mates: Sequence[int],
        silence: float,
        *,
        command: str,
        resumes: str,
        saves: bool = False,
    ):
        """`folder`: shared by all of them; gone after a clean end."""
        self.index, self.count = jax.process_index(), jax.process_count()
        self.leads = self.index == 0
        self._folder = epath.Path(folder)
        self._command, self._saves = command, saves
        self._restart = f"the same command goes on {resumes}, on any number of processes"
        self._mates = [mate for mate in mates if mate != self.index]
        self._silence, self._beat = silence, max(0.2, min(silence / 20, 5.0))
        watched = range(self.count) if self.leads else {0, *self._mates}
        self._seen = {index: ("", time.monotonic()) for index in watched if index != self.index}  # text, since when
        self._state, self._number, self._met = "preparing", 0, 0
        self._wakeup, self._lock = Wakeup(f"stopped by SIGTERM; {self._restart}"), threading.Lock()
        self._signalled: float | None = None  # when a signal was first seen
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)

    def __enter__(self) -> Peers:
        global _worked
        if self.count > 1:
            _worked = jax.distributed.is_initialized()
            with atomic.told(self._folder, "choose another run_dir"):
                self._folder.mkdir(parents=True, exist_ok=True)
            self.say("preparing")
            self._wakeup.open()
            self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        if self.count == 1:
            return
        # A collective may fail before the silence of the mate that broke it is certain.
        lost = self._await_lost_mate() if _is_broken(error) else None
        ends = error if lost is None else self._error_after(lost)
        if lost is None and _is_broken(error) and any(sign in str(error) for sign in OUT_OF_TOUCH):
            told = str(error).partition("\n")[0]
            ends = Stopped(f"one process kept the others waiting too long ({told}); {self._restart}")
        self._wakeup.stop()
        self._thread.join()
        self._wakeup.close()
        if error is None:
            self._disconnect()
            self.say("finished")
        else:
            self._say_end(statuses.of(ends))
        if self.leads:
            self._linger(clean=error is None)
        if ends is not error:
            raise ends from error

    def say(self, state: str | None = None, status: int | None = None) -> None:
        """Tell the others where this process stands, or that it still does; `status`: its exit status."""
        with self._lock:
            self._state, self._number = state or self._state, self._number + 1
            if self.count > 1:
                said = {"state": self._state, "beat": self._number, "met": self._met}
                said |= {"pid": os.getpid(), "status": status}
                text = json.dumps(said)
                with atomic.told(self._path(self.index), "choose another run_dir"):
                    # Not renamed: network file systems look anew into a file that is opened, but cache names.
                    self._path(self.index).write_text(text)

    def state(self, index: int) -> str:
        """Where process `index` stands: what it said last, 'silent', or '' while it has said nothing."""
        text, since = self._seen[index]
        said = json.loads(text)["state"] if text else ""
        return "silent" if said not in ENDED and time.monotonic() - since > self._silence else said

    def share(self, name: str, find: Callable[[], Value]) -> Value:
        """What `find` gives (JSON) in process 0, for all. Raises an error when that one ends before."""
        if self.count > 1 and not self.leads:
            return self.published(name)
        value = find()
        self.publish(name, value)
        return value

    def publish(self, name: str, value: Any) -> None:
        """Give the others `value` (JSON), for `published`; what was written before this call is on the disk then."""
        if self.count > 1:
            run_folder.write_json(self._told(name), value)
            self.say("working")

    def published(self, name: str) -> Any:
        """What process 0 published; waits for it. Raises an error when process 0 ends before."""
        while not self._told(name).exists():
            self._await_leader()
        return run_folder.read_json(self._told(name))

    def meet(self) -> None:
        """Wait until the mates have come here too. Raises an error when one ends before.

        For what each of them does in its own time, as to compile: a collective waits for the others for seconds only.
        """
        self._met += 1
        self.say()
        while late := [mate for mate in self._mates if self._meetings(mate) < self._met]:
            gone = [mate for mate in late if self.state(mate) in ENDED]
            if gone:
                raise self._error_after(gone[0])
            time.sleep(min(self._beat, POLL))
            self._look()

    def await_completion(self) -> None:
        """Wait until process 0 says that all is complete. Raises an error when it ends before."""
        self.say("done")
        while self.count > 1 and self.state(0) not in ("complete", "finished"):
            self._await_leader()

    def check(self) -> None:
        """Between two parts: raises an error when process 0 has ended."""
        if self.count > 1 and not self.leads and self.state(0) in LOST:
            raise self._error_after(0)

    def await_parts(self, missing: Callable[[], dict[int, int]]) -> None:
        """Process 0: wait until no part is missing, as long as a process that owes one is at work.

        missing: gives {part: process that writes it}. Raises an error when only ended processes owe parts.
        """
        seen = time.monotonic()  # a file that is written may take a while to be seen from here
        left = missing()
        while left:
            states = {index: self.state(index) if index != self.index else "done" for index in set(left.values())}
            if any(state not in (*ENDED, "done") for state in states.values()):
                seen = time.monotonic()
            elif "done" not in states.values() or time.monotonic() - seen > self._silence:
                gone = ", ".join(f"process {index} {_TOLD[state]}" for index, state in sorted(states.items()))
                parts = ", ".join(map(str, sorted(left)[:10])) + (", ..." if len(left) > 10 else "")
                status = min(self._status_after(index) for index in {0, *states})
                raise statuses.error(status, f"{len(left)} unwritten parts ({parts}): {gone}; {self._restart}")
            time.sleep(min(self._beat, 1.0))
            self._look()
            now = missing()
            seen, left = time.monotonic() if len(now) < len(left) else seen, now

    def _await_leader(self) -> None:
        """Wait a moment for what process 0 says. Raises an error when it has ended."""
        if self.state(0) in ENDED:
            raise self._error_after(0)
        time.sleep(min(self._beat, POLL))
        self._look()

    def _await_lost_mate(self) -> int | None:
        """The mate whose end explains an error, once it is certain; None when all are alive."""
        until = time.monotonic() + self._silence + 2 * self._beat
        while self._mates and time.monotonic() < until:
            gone = [mate for mate in self._mates if self.state(mate) in ENDED]
            if gone:
                return min(gone, key=self._status_after)
            time.sleep(self._beat)
        return None

    def _disconnect(self) -> None:
        """Leave JAX's coordination service, before process 0 ends it: its end would abort this process."""
        if not self.leads and jax.distributed.is_initialized():
            jax.distributed.shutdown()

    def _linger(self, clean: bool) -> None:
        """Let the others end first; after a clean end of all, remove what they told each other."""
        until = time.monotonic() + LINGER
        while time.monotonic() < until:
            self._look()
            if all(self.state(index) in ENDED for index in self._seen):
                break
            time.sleep(min(self._beat, 0.5))
        if clean:
            self._folder.rmtree(missing_ok=True)

    def _watch(self) -> None:
        """Beat and look until the end; end the process where its main thread cannot within GRACE seconds."""
        since = None
        while not self._wakeup.wait(self._beat):
            with contextlib.suppress(Exception):  # a full disk is told by what cannot be written there
                self.say()
            self._look()
            found = self._ending()
            since = (since or time.monotonic()) if found else None  # a silent mate may come back
            if found and time.monotonic() - since > GRACE:
                with contextlib.suppress(Exception):
                    self._say_end(found[1])
                end_process(*found)

    def _ending(self) -> tuple[str, int] | None:
        """Why this process must end, for its user, and its exit status; None while all is well."""
        gone = [mate for mate in self._mates if self.state(mate) in LOST]
        if gone:
            first = min(gone, key=self._status_after)
            return f"{self._command}: {self._lost(first)}", self._status_after(first)
        came = self._wakeup.signal
        if came is None:
            return None
        self._signalled = self._signalled or time.monotonic()
        quiet = {mate: time.monotonic() - self._seen[mate][1] for mate in self._mates}
        unheard = [f"no sign of life of process {m} for {t:.0f} s" for m, t in quiet.items() if t > 3 * self._beat]
        if self._saves and not unheard and time.monotonic() - self._signalled < self._silence:
            return None
        told = ", ".join([came.name, *unheard])
        reason = f"{self._command}: stopped by {told}, within a step that does not return; {self._restart}"
        return reason, ENDING[came]

    def _look(self) -> None:
        """Read what the watched processes say, and note when it changed."""
        for index, (known, _) in self._seen.items():
            try:
                text = self._path(index).read_text()
                json.loads(text)
            except (OSError, ValueError):
                continue  # not there yet, or just being written
            if text != known:
                self._seen[index] = (text, time.monotonic())

    def _lost(self, index: int) -> str:
        heard = self._seen[index][0]
        told = _TOLD[self.state(index)] if heard else f"was never heard of in {self._folder}, which all must share"
        return f"process {index} {told} (see its output); {self._restart}"

    def _say_end(self, status: int) -> None:
        self.say("failed" if status in statuses.FINAL else "stopped", status)

    def _meetings(self, index: int) -> int:
        text = self._seen[index][0]
        return json.loads(text)["met"] if text else 0

    def _status_after(self, index: int) -> int:
        """The exit status of this process where process `index`, which has ended, is why it ends."""
        if index == self.index or self.state(index) != "failed":
            return Stopped.STATUS
        return json.loads(self._seen[index][0])["status"]

    def _error_after(self, index: int) -> Exception:
        return statuses.error(self._status_after(index), self._lost(index))

    def _path(self, index: int) -> epath.Path:
        return self._folder / f"{_job}-{index}.json"

    def _told(self, name: str) -> epath.Path:
        return self._folder / f"{_job}-{name}.json"


def _is_broken(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, may be of a collective whose other side is gone."""
    while error is not None and not (isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error)):
        error = error.__cause__
    return error is not None


_TOLD = {
    "failed": "has stopped with an error",
    "stopped": "was stopped",
    "silent": "gives no sign of life",
    "finished": "has ended",
    "done": "says that it is done, but its parts cannot be seen from here",
}
