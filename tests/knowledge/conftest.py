"""Several processes of one `slick annotate`, as the tests of several rooms start them."""

import socket
import subprocess

import pytest

from tests.knowledge.test_annotate import command, environment

CHOSEN = (
    "--config.data.splits=test", "--config.data.limit=48", "--config.annotate.part_size=8",
    "--config.annotate.batch_tokens=64",  # of each of eight devices
)  # fmt: skip
SILENCE = 8  # seconds
ENDS_WITHIN = 120  # seconds


@pytest.fixture
def start(root, small_model, tmp_path):
    """Starts `count` processes, two of four devices or as many as share eight, in one run folder."""
    started = []

    def call(*overrides, count=2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        for index in range(count):
            settings = {
                "coordinator": address, "process_count": count, "process_index": index, "silence": SILENCE,
            }  # fmt: skip
            flags = [f"--config.distributed.{name}={value}" for name, value in settings.items()]
            started.append(
                subprocess.Popen(
                    command(root, tmp_path / "run", small_model, *CHOSEN, *flags, *overrides),
                    cwd=root,
                    env=environment(8 // count),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )  # fmt: skip
            )
        return started[-count:], tmp_path / "run"

    yield call
    for process in started:
        process.kill()
        process.wait()
