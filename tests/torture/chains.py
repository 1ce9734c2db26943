"""Runs that are killed again and again and then resumed to their end, which must be that of an undisturbed run."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from slick_jax.errors import Stopped
from tests.torture.comparing import differences
from tests.torture.killing import Attempt, attempt
from tests.torture.ledger import Ledger, quarter
from tests.torture.stages import Stage

Undisturbed = tuple[Path, Attempt]


def at_moments(
    stage: Stage, run_dir: Path, undisturbed: Undisturbed, ledger: Ledger, seed: int, kills: int
) -> int:
    """Kill a run at `kills` moments, each uniform over the work of the undisturbed run; returns the number of kills.

    Of several processes one is killed, or all of them. A run that ends before it is killed has ended.
    """
    rng, work, done = random.Random(seed), 0.0, 0
    for _ in range(kills):
        share = rng.random()
        victims = rng.choice([[place] for place in range(stage.processes)] + [list(range(stage.processes))])
        one = attempt(stage, run_dir, kill=victims, after=share * undisturbed[1].worked[victims[0]])
        work += sum(one.worked)
        check_end(one, leader_lost=stage.together and 0 in one.killed)
        if one.killed:
            done += 1
            ledger.note(
                what="kill", stage=stage.name, moment=quarter(share), processes=len(one.killed),
                left=len(list(run_dir.rglob("*.tmp"))), seed=seed,
                others=[status for place, status in enumerate(one.statuses) if place not in one.killed],
            )  # fmt: skip
        if one.finished:
            break
    finish(stage, run_dir, undisturbed, ledger, work, done)
    return done


def at_deeds(stage: Stage, run_dir: Path, undisturbed: Undisturbed, ledger: Ledger, seed: int, kills: int) -> int:
    """Kill a run in place of one of its first deeds to files, resume it and kill that alike; the number of kills.

    Every second kill leaves the file that was to be renamed half written.
    """
    rng, work, done = random.Random(seed), 0.0, 0
    within = max(2, len(undisturbed[1].deeds[0]) // 3)
    while done < kills:
        one = attempt(stage, run_dir, die_at=rng.randint(1, within), torn=done % 2 == 1)
        work += sum(one.worked)
        check_end(one)
        if one.finished:
            break
        done += 1
        ledger.note(what="kill", stage=stage.name, moment="at a file", processes=1, deed=one.deeds[0][-1], seed=seed)
    finish(stage, run_dir, undisturbed, ledger, work, done)
    return done


def finish(
    stage: Stage, run_dir: Path, undisturbed: Undisturbed, ledger: Ledger, work: float = 0.0, kills: int = 0
) -> None:
    """Run the stage to its end, and compare. work: CPU seconds of the attempts before, of which `kills` were killed."""
    last = attempt(stage, run_dir)
    assert last.finished, last.said
    ledger.note(
        what="run", stage=stage.name, kills=kills, seconds=work + sum(last.worked),
        undisturbed=sum(undisturbed[1].worked),
    )
    found = differences(undisturbed[0], run_dir, exact=not stage.together)
    assert not found, "\n".join([f"{undisturbed[0]} and {run_dir}", *found])


def check_end(one: Attempt, leader_lost: bool = False) -> None:
    """Whoever was not killed has ended well, or says that the same command goes on from there.

    leader_lost: process 0 of a job was killed, which holds JAX's coordination service: JAX itself ends the others.
    """
    for place, status in enumerate(one.statuses):
        fine = place in one.killed or status in (0, Stopped.STATUS) or (leader_lost and status == -signal.SIGABRT)
        assert fine, (one.statuses, one.said)
    assert leader_lost or "Traceback" not in one.said, one.said
