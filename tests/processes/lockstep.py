"""`slick annotate` with a sum over the devices of a team in place of the work: its processes wait for each other alike.

python -m tests.processes.lockstep <arguments of slick annotate>
"""

import ctypes
import dataclasses
import itertools
import sys
import time
from pathlib import Path

import numpy as np

from slick_jax import main
from slick_jax.commands import COMMANDS
from slick_jax.errors import InputError
from slick_jax.processes import peers


def run(config) -> None:
    """Prints a line a step, for ever; what happens at step 5 is told by a file in the run folder.

    fail: process 1 fails, by a `bug` or bad `input`, while its sum is under way; process 0 takes no part in that.
    stuck: process 1 sits in a call of C, as in a collective that asks for no signals.
    """
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    from slick_jax.mesh import make_team, place, replicated

    team = make_team(config.mesh)
    rows = place(np.ones((8, 4), np.float32), NamedSharding(team.mesh, PartitionSpec("tensor")))
    total = jax.jit(lambda array: array.sum(), out_shardings=replicated(team.mesh))
    mutex = ctypes.create_string_buffer(64)
    folder, silence = Path(config.run_dir) / peers.FOLDER, config.distributed.silence
    with peers.Peers(folder, team.members, silence, command="annotate", resumes="from the finished parts") as found:
        for step in itertools.count():
            fails = step == 5 and (Path(config.run_dir) / "fail").exists()
            if fails and found.leads:
                time.sleep(600)
            if step == 5 and found.index == 1 and (Path(config.run_dir) / "stuck").exists():
                for _ in range(2):  # the second one waits for ever, and no signal interrupts it
                    ctypes.CDLL(None).pthread_mutex_lock(mutex)
            started = total(rows)
            if fails:
                bug = (Path(config.run_dir) / "fail").read_text() == "bug"
                raise ZeroDivisionError("a bug") if bug else InputError("bad rows")
            print("step", step, float(started), file=sys.stderr, flush=True)


if __name__ == "__main__":
    peers.GRACE = 1.0
    COMMANDS["annotate"] = dataclasses.replace(COMMANDS["annotate"], place="tests.processes.lockstep")
    sys.exit(main.main(["annotate", *sys.argv[1:]]))
