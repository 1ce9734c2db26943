"""What several processes of one training run agree on: whose folder it is, and behind which step they stop."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from slick_jax.compilation import jitted
from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.files.claim import claimed
from slick_jax.mesh import AXES, place, replicated
from slick_jax.processes.peers import Peers
from slick_jax.processes.signals import Sigterm

Share = Callable[[str, Callable[[], Any]], Any]  # Peers.share


def alone(name: str, find: Callable[[], Any]) -> Any:
    """The `Share` of a process that works by itself."""
    return find()


@contextlib.contextmanager
def claimed_by_all(
    peers: Peers, folder: epath.Path, record: str, settings: dict, result: str
) -> Iterator[bool]:
    """Process 0 holds the run folder for all (see `claimed`); yields whether file `result` is there.

    Raises InputError in a process that has other settings than process 0, and Stopped where that one has ended.
    """
    if not peers.leads:
        told = peers.published("claim")
        if (ours := json.loads(json.dumps(settings))) != told["settings"]:
            differing = run_folder.differences(told["settings"], ours)
            raise InputError(
                f"process {peers.index} would run something else than process 0 ({differing}); give all processes the"
                " same settings, data and model"
            )
        yield told["finished"]
        return
    with claimed(folder, record, settings, result):
        finished = (folder / result).exists()
        peers.publish("claim", {"settings": settings, "finished": finished})
        yield finished


class Votes:
    """Whether SIGTERM has come to any of the processes, so that all of them stop behind the same step.

    Each hands its word in with a step, and reads all of them with what the step measured. A process by itself knows at
    once, and hands in nothing.
    """

    def __init__(self, mesh: Mesh, sigterm: Sigterm):
        self._sigterm, self._alone = sigterm, not mesh.is_multi_process
        if self._alone:
            return
        each = NamedSharding(mesh, PartitionSpec(AXES))
        self._count = jitted(self.count, out_shardings=replicated(mesh))
        self._words = {word: place(np.full(mesh.size, word), each) for word in (False, True)}

    def cast(self) -> jax.Array | None:
        """This process's word for the next step, bool[devices]."""
        return None if self._alone else self._words[self._sigterm.came]

    @staticmethod
    def count(words: jax.Array | None) -> jax.Array | None:
        """Within the compiled step: whether any word is yes."""
        return None if words is None else words.any()

    def now(self) -> bool:
        """Whether to stop, asked apart from any step; all processes wait for each other's word."""
        return self._sigterm.came if self._alone else bool(jax.device_get(self._count(self.cast())))

    def outcome(self, counted: jax.Array | None) -> bool:
        """Whether to stop, as `count` found it in a step (None: before the first)."""
        if self._alone:
            return self._sigterm.came
        return counted is not None and bool(jax.device_get(counted))
