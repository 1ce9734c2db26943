"""Folders of a store: one living holder, take-over of what a dead one held, and the end of one that was only slow."""

import subprocess
import sys
import threading
import time

import pytest
from etils import epath

from slick_jax.files import claim, run_folder
from slick_jax.files.claim import Busy, claimed, held, is_held
from slick_jax.processes import presence

HOLDER = """
import sys, time
from slick_jax.files import claim
claim.SILENCE = float(sys.argv[2])
with claim.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(120)
"""


def hold(folder, silence):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder, str(silence)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n", process.communicate()
    return process


@pytest.fixture
def quick(monkeypatch):
    """Two seconds of silence are enough."""
    monkeypatch.setattr(claim, "SILENCE", 2.0)


def test_one_holder_at_a_time(bucket, quick):
    assert not is_held(bucket)
    with held(bucket):
        assert is_held(bucket)
        with pytest.raises(Busy, match="another process is at work there, on "), held(bucket):
            pass
    assert not is_held(bucket)
    with held(bucket):
        assert is_held(bucket)
    assert [path.name for path in epath.Path(bucket).iterdir()] == ["owner-000002.json"]


def test_a_folder_is_bound_to_the_settings_of_what_is_in_it(bucket):
    folder = epath.Path(bucket)
    with claimed(folder, "train.json", {"seed": 0}, "result.json"):
        run_folder.write_json(folder / "result.json", {})
    with pytest.raises(Exception, match="seed was 0, is 1"), claimed(folder, "train.json", {"seed": 1}, "result.json"):
        pass


def test_what_a_killed_process_held_is_taken_over_after_its_silence(bucket, monkeypatch, capsys):
    monkeypatch.setattr(claim, "SILENCE", 10.0)
    process = hold(bucket, 10)
    process.kill()
    process.wait()
    assert is_held(bucket)
    begun = time.monotonic()
    with held(bucket):  # as by a job that a scheduler has started again at once
        assert time.monotonic() - begun >= 10
    assert "waiting 10 s for a sign of life" in capsys.readouterr().out
    with held(bucket):
        assert is_held(bucket)


def test_a_folder_that_was_silent_for_long_enough_is_not_waited_for(bucket, quick):
    process = hold(bucket, 2)
    process.kill()
    process.wait()
    time.sleep(3.5)
    assert not is_held(bucket)
    begun = time.monotonic()
    with held(bucket):
        assert time.monotonic() - begun < 2


def test_a_holder_that_was_taken_for_dead_ends_and_writes_no_more(bucket, server):
    slow = hold(bucket, 60)  # it gives a sign of life every 6 seconds
    run_folder.write_text(epath.Path(bucket) / "owner-000002.json", '{"host": "node7"}')  # who took the folder over
    _, told = slow.communicate(timeout=60)
    assert slow.returncode == 75
    assert "another process has taken over" in told
    assert server.objects["bucket"][f"{bucket[len('gs://bucket/'):]}/owner-000002.json"].content == b'{"host": "node7"}'


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_that_try_at_once_one_has_it(bucket, quick, dead):
    if dead:
        process = hold(bucket, 2)
        process.kill()
        process.wait()
        time.sleep(3.5)
    start, tried, found = threading.Event(), threading.Barrier(8), []

    def race():
        start.wait()
        try:
            with held(bucket):
                found.append("held")
                tried.wait()
        except Busy:
            found.append("busy")
            tried.wait()

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["busy"] * 7 + ["held"]


def test_the_last_process_of_a_study_knows_that_it_is(bucket):
    with presence.told(bucket) as first:
        with presence.told(bucket) as second:
            pass
        assert not second()
    assert first()
    assert not list(epath.Path(bucket).glob("study/*"))
