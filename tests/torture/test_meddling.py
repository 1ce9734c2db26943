"""What people and machines do to a run folder: two runs in one, parts of another run, clocks that jump."""

import os
import shutil
import time

import pytest

from tests.torture import chains
from tests.torture.comparing import differences
from tests.torture.killing import attempt

pytestmark = pytest.mark.torture

STAGES = ("annotate", "train", "longform")
CENTURY = 36500 * 86400.0  # seconds


@pytest.mark.parametrize("stage", STAGES)
def test_of_two_runs_in_one_folder_the_second_is_refused(ground, undisturbed, fresh, ledger, stage):
    stage, whole, run_dir = ground[stage], undisturbed(stage), fresh(ground[stage])
    two = attempt(stage.twice(), run_dir)
    assert sorted(two.statuses) == [0, 2], (two.statuses, two.said)
    assert "another process is at work there" in two.said and "Traceback" not in two.said, two.said
    ledger.note(what="two runs", stage=stage.name)
    assert not differences(whole[0], run_dir)


@pytest.mark.parametrize("years", [-50, 50])
@pytest.mark.parametrize("stage", STAGES)
def test_clocks_do_not_matter(ground, undisturbed, fresh, ledger, stage, years):
    """Every file of a killed run is as old as before its time, or of the future."""
    stage, whole, run_dir = ground[stage], undisturbed(stage, timed=True), fresh(ground[stage])
    one = attempt(stage, run_dir, kill=[0], after=0.5 * whole[1].worked[0])
    for path in run_dir.rglob("*"):
        os.utime(path, (time.time() + years / 100 * CENTURY,) * 2)
    ledger.note(what="clocks", stage=stage.name, years=years)
    chains.finish(stage, run_dir, whole, ledger, sum(one.worked), len(one.killed))


def test_a_part_of_another_run_is_not_mixed_in(ground, undisturbed, fresh, ledger, tmp_path):
    stage, (folder, _), run_dir = ground["annotate"], undisturbed("annotate"), fresh(ground["annotate"])
    other = fresh(stage, "other")
    assert attempt(stage, other, annotate__seed=1).finished
    shutil.copytree(folder, run_dir, dirs_exist_ok=True)
    part = "annotations/part-00003.parquet"
    shutil.copyfile(other / part, run_dir / part)
    one = attempt(stage, run_dir)
    assert one.statuses == [2] and f"{part}: a part of another protocol; remove it" in one.said, one.said
    (run_dir / part).unlink()
    chains.finish(stage, run_dir, undisturbed("annotate"), ledger)


def test_other_settings_are_refused_and_what_is_there_stays(ground, undisturbed, fresh):
    for name, changed in (("annotate", {"annotate__seed": 1}), ("train", {"train__peak_lr": 1e-4})):
        run_dir = fresh(ground[name])
        shutil.copytree(undisturbed(name)[0], run_dir, dirs_exist_ok=True)
        one = attempt(ground[name], run_dir, **changed)
        assert one.statuses == [2] and "Traceback" not in one.said, one.said
        assert "another protocol" in one.said or "other settings" in one.said, one.said
        assert not differences(undisturbed(name)[0], run_dir)
