"""Real processes of one `slick` command on this machine, which find each other over loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

ENDS_WITHIN = 60  # seconds from the death of one process to the end of the last
PATIENCE = 600  # seconds for a whole command, on a machine that does other things as well


class Job:
    """The processes of one command; leaving the context kills what is left of them."""

    def __init__(self, root, command, config, settings, count, *, devices=1, silence=10, dies=None):
        """`settings`: by name, as on the command line, over the file `config`. dies: (process, what tests/dying.py
        is told)."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        seen = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")
        self.processes = []
        for index in range(count):
            meeting = {
                "coordinator": address, "process_count": count, "process_index": index, "silence": silence,
            }  # fmt: skip
            named = settings | ({f"distributed.{name}": value for name, value in meeting.items()} if count > 1 else {})
            flags = [f"--config={config}", *(f"--config.{name}={value}" for name, value in named.items())]
            environment = os.environ | {"XLA_FLAGS": seen, "DIES": dies[1] if dies and dies[0] == index else ""}
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.dying", command, *flags], cwd=root, env=environment, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )  # fmt: skip
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.communicate()

    def finish(self):
        """What each process has printed to stdout, all of them having ended well."""
        told = [process.communicate(timeout=PATIENCE) for process in self.processes]
        assert [process.returncode for process in self.processes] == [0] * len(told), "\n".join(err for _, err in told)
        return [out for out, _ in told]

    def end(self, lost=None):
        """(status, stderr) of every process. `lost`: the one that dies or hangs, after which the others have
        ENDS_WITHIN seconds; it is killed at last where it hangs."""
        if lost is not None:
            self._await_death(self.processes[lost])
            until = time.monotonic() + ENDS_WITHIN
            for process in self.processes:
                if process is not self.processes[lost]:
                    process.wait(max(until - time.monotonic(), 0.01))
            self.processes[lost].kill()
        told = [process.communicate(timeout=PATIENCE)[1] for process in self.processes]
        return [(process.returncode, text) for process, text in zip(self.processes, told, strict=True)]

    @staticmethod
    def _await_death(process):
        """Until it has ended or is stopped by SIGSTOP, which its parent is told of."""
        until = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError), open(f"/proc/{process.pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] in "tT":
                    return
            time.sleep(0.05)
        assert process.poll() == -signal.SIGKILL, process.communicate()
