"""Fifteen kills at files; `make torture` has many more, and at any moment."""

import pytest

from tests.torture import chains

SHARES = {"annotate": 6, "train": 5, "longform, up to beliefs": 4}


@pytest.mark.parametrize("stage", SHARES)
def test_a_run_killed_at_its_files_ends_as_an_undisturbed_one(ground, undisturbed, fresh, ledger, stage):
    kills, seed = 0, 0
    while kills < SHARES[stage]:
        kills += chains.at_deeds(
            ground[stage], fresh(ground[stage]), undisturbed(stage), ledger, seed, SHARES[stage] - kills
        )
        seed += 1
