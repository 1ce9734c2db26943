"""Stand-ins for the programs of clusters, on a PATH that holds nothing but them and the usual tools."""

import contextlib
import os
import signal
import subprocess

import pytest

TOOLS = (
    "bash", "env", "cat", "sed", "tar", "gzip", "mktemp", "rm", "mkdir", "sleep", "dirname", "kill", "python3",
)  # fmt: skip


ENDS_WITHIN = 240  # seconds


class Host:
    """A machine with stand-ins for programs; every call of one is a line of `calls`."""

    def __init__(self, root, folder):
        self.root, self._bin, self._log = root, folder / "bin", folder / "calls"
        self._bin.mkdir()
        self._log.touch()
        self.folder = folder
        self._started = []
        for name in TOOLS:
            found = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
            (self._bin / name).symlink_to(found)

    def program(self, name, body="exit 0"):
        """Put a program on the PATH; `body` is bash, and its words are logged first."""
        path = self._bin / name
        path.write_text(f'#!/bin/bash\necho "{name} ${{*@Q}}" >> "{self._log}"\n{body}\n')
        path.chmod(0o755)

    @property
    def calls(self):
        """What was called, with its words quoted by bash."""
        return self._log.read_text().splitlines()

    def start(self, *words, **variables):
        """A command of the repository's root, as a process."""
        process = subprocess.Popen(
            words, cwd=self.root, env={"PATH": str(self._bin), "HOME": str(self.folder)} | variables,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def end(self):
        """No program that a test has started outlives it."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, *words, status=0, **variables):
        """A command to its end: what it printed, and told."""
        process = self.start(*words, **variables)
        printed, told = process.communicate(timeout=ENDS_WITHIN)
        assert process.returncode == status, (process.returncode, printed, told)
        return printed, told


@pytest.fixture
def host(root, tmp_path):
    """A `Host` without any program of a cluster."""
    assert not os.environ.get("DRY_RUN")
    made = Host(root, tmp_path)
    yield made
    made.end()


def counted(statuses, folder):
    """The body of a program that ends with one status after the other, from call to call."""
    return (
        f'n=$(cat "{folder}/n" 2>/dev/null || echo 0); echo $((n + 1)) > "{folder}/n"\n'
        f"statuses=({' '.join(map(str, statuses))}); exit ${{statuses[n]}}"
    )
