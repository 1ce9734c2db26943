"""SIGTERM, as schedulers send it before they take a machine away: status 75, and started anew until the run ends."""

import random
import signal

import pytest

from slick_jax.errors import Stopped
from tests.torture import chains
from tests.torture.killing import attempt

pytestmark = pytest.mark.torture


@pytest.mark.parametrize("stage", ["annotate", "train", "longform", "study, 2 processes"])
def test_preempted_and_requeued_a_run_ends_as_an_undisturbed_one(ground, undisturbed, fresh, ledger, stage):
    stage, whole, run_dir, rng = ground[stage], undisturbed(stage, timed=True), fresh(ground[stage]), random.Random()
    everyone, work, preempted = list(range(stage.processes)), 0.0, 0
    for _ in range(4):
        one = attempt(
            stage, run_dir, kill=everyone, after=rng.uniform(0.2, 0.8) * whole[1].worked[0], number=signal.SIGTERM
        )
        work += sum(one.worked)
        if one.finished:
            break
        assert set(one.statuses) <= {0, Stopped.STATUS}, (one.statuses, one.said)
        assert "Traceback" not in one.said and "run it again" in one.said or "goes on from here" in one.said, one.said
        preempted += 1
    assert preempted
    ledger.note(what="preempted", stage=stage.name, times=preempted)
    chains.finish(stage, run_dir, whole, ledger, work)
