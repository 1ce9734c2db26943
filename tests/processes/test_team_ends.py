"""Real processes in lock-step, one of which dies, hangs, fails or is told to end: the other ends in bounded time."""

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.knowledge.test_annotate import environment

ENDS_WITHIN = 60  # seconds, also on a machine that does other things as well


class Process:
    """One of two; reads what it prints as it comes."""

    def __init__(self, root, arguments):
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.lockstep", *arguments], cwd=root, env=environment(2), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self._popen.stdout), daemon=True)
        self._reader.start()
        self.send = self._popen.send_signal

    def reach(self, steps):
        """Wait until it has done so many steps."""
        until = time.monotonic() + 300
        while sum(line.startswith("step") for line in list(self.lines)) < steps:
            assert time.monotonic() < until and self._popen.poll() is None, "".join(self.lines)
            time.sleep(0.02)

    def end(self, within):
        """Exit status and what was said besides the steps; fails when it has not ended in that many seconds."""
        try:
            status = self._popen.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there after {within} s:\n{''.join(self.lines[-20:])}")
        self._reader.join(5)
        return status, "".join(line for line in self.lines if not line.startswith(("step", "[Gloo]")))

    def remove(self):
        self._popen.kill()
        self._popen.wait()
        self._reader.join(5)
        self._popen.stdout.close()


@pytest.fixture
def team(root, tmp_path):
    """Starts two processes of two devices each, a model group over all four, and waits until they work."""
    started = []

    def start(silence, steps=2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        for index in range(2):
            settings = {
                "run_dir": tmp_path, "model.path": tmp_path, "mesh.data": 1, "mesh.tensor": 4,
                "distributed.coordinator": address, "distributed.process_count": 2,
                "distributed.process_index": index, "distributed.silence": silence,
            }  # fmt: skip
            flags = [f"--config.{name}={value}" for name, value in settings.items()]
            started.append(Process(root, [f"--config={root}/tests/small_world.py", *flags]))
        for process in started:
            process.reach(steps)
        return started

    yield start
    for process in started:
        process.remove()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_mate_that_dies_or_hangs_is_named(team, how):
    first, second = team(silence=4)
    second.send(how)
    status, told = first.end(ENDS_WITHIN)
    assert status == 75
    assert "annotate: process 1 gives no sign of life (see its output); the same command goes on" in told
    assert "Traceback" not in told


def test_the_death_of_process_0_is_told_and_ends_the_other(team):
    first, second = team(silence=30)
    first.send(signal.SIGKILL)
    status, told = second.end(ENDS_WITHIN)
    assert status == 75
    assert "annotate: process 0 has ended" in told or "annotate: process 0 gives no sign of life" in told
    assert "same command" in told


def test_sigterm_ends_a_process_that_waits_for_a_hanging_mate(team):
    first, second = team(silence=60)
    first.send(signal.SIGSTOP)
    second.send(signal.SIGTERM)
    status, told = second.end(ENDS_WITHIN)
    assert status == 75
    assert "annotate: stopped by SIGTERM" in told and "the same command goes on from the finished parts" in told


def test_sigterm_ends_a_process_whose_main_thread_never_comes_back(team, tmp_path):
    (tmp_path / "stuck").touch()
    _, second = team(silence=20, steps=1)
    second.reach(5)
    time.sleep(1)
    second.send(signal.SIGTERM)
    status, told = second.end(ENDS_WITHIN)
    assert status == 75
    assert "annotate: stopped by SIGTERM, within a step that does not return; the same command goes on" in told


def test_sigterm_between_two_steps_ends_both(team):
    first, second = team(silence=10)
    second.send(signal.SIGTERM)
    status, told = second.end(ENDS_WITHIN)
    assert status == 75 and "annotate: stopped by SIGTERM" in told
    status, told = first.end(ENDS_WITHIN)
    assert status == 75 and "process 1 was stopped" in told


@pytest.mark.parametrize(
    ("failure", "status", "reason"), [("bug", 1, "ZeroDivisionError: a bug"), ("input", 2, "error: bad rows")]
)
def test_a_failure_with_a_collective_under_way_ends_both_alike(team, tmp_path, failure, status, reason):
    (tmp_path / "fail").write_text(failure)
    first, second = team(silence=60, steps=0)
    found, told = second.end(ENDS_WITHIN)
    assert found == status and reason in told
    found, told = first.end(ENDS_WITHIN)
    assert found == status and "process 1 has stopped with an error" in told and "Traceback" not in told
