"""Who holds a run folder: one living process; what a dead one held is taken over, here at once, elsewhere in time."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from slick_jax.errors import InputError
from slick_jax.files import claim
from slick_jax.files.claim import Busy, claimed, held, is_held

HOLDER = """
import sys, time
from slick_jax.files.claim import held
with held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that a process on another machine, whose locks are not seen here, says it holds."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").touch()

    def owner(age):
        path = folder / claim.OWNER
        path.write_text(json.dumps({"host": "node7", "boot": "another", "pid": 1}))
        os.utime(path, (time.time() - age,) * 2)
        return folder

    return owner


def test_one_holder_at_a_time(tmp_path):
    folder = tmp_path / "new" / "run"
    assert not is_held(folder) and not folder.exists()
    with held(folder):
        assert is_held(folder)
        with pytest.raises(Busy, match="another process is at work there"), held(folder):
            pass
    assert not is_held(folder)
    with held(folder):
        pass
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]


def test_what_a_killed_process_was_writing_goes(tmp_path):
    for name in (".part-00001.parquet.77.tmp", "notes.tmp", ".keep"):
        (tmp_path / name).touch()
    with held(tmp_path):
        assert not list(tmp_path.glob(".part*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".keep", "lock", "notes.tmp"]


def test_what_a_killed_process_held_is_taken_over_at_once(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    assert is_held(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / claim.OWNER).exists()  # it had no time to tidy up
    assert not is_held(tmp_path)
    claim_began = time.monotonic()
    with held(tmp_path):
        assert json.loads((tmp_path / claim.OWNER).read_text())["pid"] == os.getpid()
    assert time.monotonic() - claim_began < 10


def test_a_living_process_on_another_machine_is_left_alone(elsewhere, monkeypatch):
    folder = elsewhere(age=claim.SILENCE / 2)
    monkeypatch.setattr(claim.time, "sleep", lambda _: os.utime(folder / claim.OWNER))
    assert is_held(folder)
    with pytest.raises(Busy, match="on node7"), held(folder):
        pass
    assert json.loads((folder / claim.OWNER).read_text())["host"] == "node7"


def test_a_machine_that_was_just_lost_is_waited_for_and_its_folder_taken_over(elsewhere, monkeypatch, capsys):
    monkeypatch.setattr(claim, "SETTLE", 0.05)
    monkeypatch.setattr(claim, "SILENCE", 2.0)
    folder = elsewhere(age=0)
    with held(folder):
        assert json.loads((folder / claim.OWNER).read_text())["pid"] == os.getpid()
    assert "held by another process; waiting 2 s for a sign of life" in capsys.readouterr().out


def test_a_sign_of_life_from_the_future_is_of_a_clock_that_was_set_back(elsewhere, monkeypatch):
    monkeypatch.setattr(claim, "SETTLE", 0.05)
    folder = elsewhere(age=-1e6)
    assert not is_held(folder)
    with held(folder):
        assert is_held(folder)


def test_a_silent_one_is_not(elsewhere, monkeypatch):
    monkeypatch.setattr(claim, "SETTLE", 0.05)
    folder = elsewhere(age=2 * claim.SILENCE)
    assert not is_held(folder)
    with held(folder):
        assert json.loads((folder / claim.OWNER).read_text())["pid"] == os.getpid()


def test_of_two_that_take_over_at_once_one_gets_it(elsewhere, monkeypatch):
    folder = elsewhere(age=2 * claim.SILENCE)

    def other_comes_second(_):
        (folder / claim.OWNER).write_text(json.dumps({"host": "node8", "boot": "third", "pid": 5}))

    monkeypatch.setattr(claim.time, "sleep", other_comes_second)
    with pytest.raises(Busy), held(folder):
        pass


def test_the_holder_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "SILENCE", 0.2)
    with held(tmp_path):
        os.utime(tmp_path / claim.OWNER, (1, 1))
        until = time.monotonic() + 10
        while (tmp_path / claim.OWNER).stat().st_mtime < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert (tmp_path / claim.OWNER).stat().st_mtime > 2


SLOW = HOLDER.replace("with held", "import slick_jax.files.claim; slick_jax.files.claim.SILENCE = 5.0\nwith held")


def test_a_holder_that_was_taken_for_dead_ends_and_leaves_its_successor_alone(tmp_path):
    slow = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert slow.stdout.readline() == "held\n"
    name = json.dumps({"host": "node8", "boot": "third", "pid": 5})
    (tmp_path / claim.OWNER).write_text(name)
    os.utime(tmp_path / claim.OWNER, (1, 1))
    _, told = slow.communicate(timeout=60)
    assert slow.returncode == 75 and "another process has taken over" in told
    assert (tmp_path / claim.OWNER).read_text() == name and (tmp_path / claim.OWNER).stat().st_mtime == 1


def test_at_its_end_a_holder_removes_no_file_but_its_own(tmp_path):
    name = json.dumps({"host": "node8", "boot": "third", "pid": 5})
    with held(tmp_path):
        (tmp_path / claim.OWNER).write_text(name)
    assert (tmp_path / claim.OWNER).read_text() == name


def test_a_damaged_owner_file_holds_nothing(tmp_path):
    (tmp_path / "lock").touch()
    for content in ("", "[1]", '{"pid": 3}'):
        (tmp_path / claim.OWNER).write_text(content)
        assert not is_held(tmp_path)


def test_a_folder_is_bound_to_the_settings_of_what_was_saved(tmp_path):
    with claimed(tmp_path, "train.json", {"rate": 1}, "result.json"):
        pass
    with claimed(tmp_path, "train.json", {"rate": 2}, "result.json"):
        (tmp_path / "result.json").write_text("{}")
    other = claimed(tmp_path, "train.json", {"rate": 1}, "result.json")
    with pytest.raises(InputError, match="rate was 2, is 1"), other:
        pass
