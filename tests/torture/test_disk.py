"""A disk that is full, a file that may not grow, a folder that cannot be written: told, and gone on from afterwards."""

import contextlib
import shutil
import subprocess

import pytest

from tests.torture import chains
from tests.torture.killing import attempt

pytestmark = pytest.mark.torture

STAGES = ("annotate", "train", "longform")
KIB = {"annotate": (60, 100), "train": (300, 600), "longform": (150, 500)}  # sizes of a disk that is too small


@contextlib.contextmanager
def disk(place, kib):
    """A small file system at `place`; yields what gives it another size, or other options."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here ({made.stderr.strip()}); a file-size limit is tested as well")

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)

    try:
        yield remount
    finally:
        subprocess.run(["umount", str(place)], check=True)


def refused(one, told):
    """The attempt ended with one message that says `told`."""
    assert one.statuses == [2], (one.statuses, one.said)
    assert "Traceback" not in one.said and told in one.said.lower(), one.said
    return one.said[one.said.find("error: ") :].strip()


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_loses_nothing(ground, undisturbed, tmp_path, ledger, stage):
    stage, whole, work, run_dir = ground[stage], undisturbed(stage), 0.0, tmp_path / "disk" / "run"
    with disk(tmp_path / "disk", KIB[stage.name][0]) as remount:
        run_dir.mkdir()
        stage.prepare(run_dir)
        for kib in KIB[stage.name]:
            remount(f"size={kib}k")
            one = attempt(stage, run_dir)
            work += sum(one.worked)
            ledger.note(what="full disk", stage=stage.name, kib=kib, said=refused(one, "free space"))
        remount("size=64m")
        chains.finish(stage, run_dir, whole, ledger, work)


@pytest.mark.parametrize("stage", STAGES)
def test_a_file_that_may_not_grow_loses_nothing(ground, undisturbed, fresh, ledger, stage):
    stage, run_dir = ground[stage], fresh(ground[stage])
    one = attempt(stage, run_dir, largest=4096)
    ledger.note(what="file size", stage=stage.name, said=refused(one, "free space"))
    chains.finish(stage, run_dir, undisturbed(stage.name), ledger, sum(one.worked))


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_is_read_only_is_told(ground, undisturbed, tmp_path, ledger, stage):
    stage, whole, run_dir = ground[stage], undisturbed(stage, timed=True), tmp_path / "disk" / "run"
    with disk(tmp_path / "disk", 65536) as remount:
        run_dir.mkdir()
        stage.prepare(run_dir)
        chains.check_end(attempt(stage, run_dir, kill=[0], after=0.6 * whole[1].worked[0]))
        remount("ro")
        ledger.note(what="read only", stage=stage.name, said=refused(attempt(stage, run_dir), "read-only"))
        remount("rw")
        chains.finish(stage, run_dir, whole, ledger)


@pytest.mark.parametrize(
    ("stage", "path"), [("annotate", "annotations"), ("train", "train"), ("longform", "longform")]
)
def test_a_file_in_place_of_a_folder_is_told(ground, undisturbed, fresh, ledger, stage, path):
    stage, run_dir = ground[stage], fresh(ground[stage])
    (run_dir / path).write_text("in the way")
    said = refused(attempt(stage, run_dir), "cannot be written")
    ledger.note(what="in the way", stage=stage.name, said=said)
    assert path in said and "config.run_dir" in said or "run_dir" in said
    (run_dir / path).unlink()
    shutil.rmtree(run_dir / path, ignore_errors=True)
    chains.finish(stage, run_dir, undisturbed(stage.name), ledger)
