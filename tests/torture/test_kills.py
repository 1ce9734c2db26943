"""`make torture`: kills at random moments over annotate, train and longform, alone and two at a time.

Every run is killed several times in a row and then resumed to its end, which must be that of an undisturbed run.
"""

import random

import pytest

from tests.torture import chains

pytestmark = pytest.mark.torture

# Stage: kills at random moments, and kills of a run at most.
MOMENTS = {
    "annotate": (32, 4), "train": (32, 4), "longform": (16, 4), "annotate, 2 processes": (12, 3),
    "study, 2 processes": (12, 3),
}  # fmt: skip
DEEDS = {"annotate": (12, 6), "train": (12, 6), "longform": (6, 6)}  # the same, at files
SEED = random.SystemRandom().randrange(10**6)


@pytest.mark.parametrize("stage", MOMENTS)
def test_killed_at_random_moments(ground, undisturbed, fresh, ledger, stage):
    _torture(chains.at_moments, ground[stage], undisturbed(stage, timed=True), fresh, ledger, *MOMENTS[stage])


@pytest.mark.parametrize("stage", DEEDS)
def test_killed_at_files(ground, undisturbed, fresh, ledger, stage):
    _torture(chains.at_deeds, ground[stage], undisturbed(stage, timed=True), fresh, ledger, *DEEDS[stage])


def _torture(chain, stage, whole, fresh, ledger, wanted, most):
    killed, seed = 0, SEED
    while killed < wanted:
        killed += chain(stage, fresh(stage), whole, ledger, seed, min(most, wanted - killed))
        seed += 1
        assert seed - SEED < 10 * wanted, "runs end before they are killed"
