"""Commands whose processes compute everything together, step by step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
from etils import epath

from slick_jax.config import Config
from slick_jax.mesh import all_devices
from slick_jax.processes.peers import Peers


@contextlib.contextmanager
def in_lockstep(
    config: Config, command: str, folder: epath.PathLike, resumes: str, saves: bool = True
) -> Iterator[Peers]:
    """All processes of a `command` as mates, as all of them compute everything together (see Peers).

    None of them ends well before process 0 has done all.
    """
    all_devices()  # which tells more clearly where there are none
    mates = range(jax.process_count())
    with Peers(folder, mates, config.distributed.silence, command=command, resumes=resumes, saves=saves) as peers:
        yield peers
        if peers.leads:
            peers.say("complete")
        else:
            peers.await_completion()
