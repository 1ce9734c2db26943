"""Several processes of one `slick annotate`: the labels of one device, whoever dies and however it is resumed."""

import json
import signal
import time

import pyarrow.parquet as pq
import pytest

from slick_jax.data.examples import Example
from slick_jax.errors import InputError
from slick_jax.knowledge.store import Parts
from tests.knowledge.conftest import CHOSEN
from tests.knowledge.test_annotate import annotate, assert_same


@pytest.fixture(scope="module")
def one_device(root, small_model, tmp_path_factory):
    return annotate(root, tmp_path_factory.mktemp("one"), small_model, *CHOSEN)[0]


def kill_after(team, index, folder, parts):
    """SIGKILL to one of them as soon as that many parts have been written; the time of it."""
    process = team[index]
    while len(list((folder / "annotations").glob("part-*.parquet"))) < parts:
        if process.poll() is not None:
            pytest.fail("\n\n".join(member.communicate(timeout=60)[1] for member in team))
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "annotations.parquet").exists()
    return time.monotonic()


def test_a_team_that_loses_a_process_ends_and_two_processes_for_themselves_finish_its_run(root, one_device, start):
    team, folder = start("--config.mesh.data=1", "--config.mesh.tensor=8")  # vocabulary and MLP over both
    first = team[0]
    killed = kill_after(team, 1, folder, parts=2)
    _, told = first.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert first.returncode == 75, told
    assert "process 1 gives no sign of life" in told and "the same command goes on" in told
    assert "Traceback" not in told

    (first, second), folder = start()
    (printed, progress), (nothing, quiet) = first.communicate(timeout=600), second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), progress + quiet
    assert "HighlyKnown" in printed and "annotate: 48 of 48 questions" in progress
    assert "questions" not in quiet
    assert "Known" not in nothing and "annotate" not in nothing  # XLA itself prints there, from several threads at once
    assert not (folder / "processes").exists()
    found = pq.read_table(folder / "annotations.parquet").to_pandas()
    assert_same(one_device, found)
    assert found["p_true"].notna().all() and found["p_true"].std() > 0.01
    assert json.loads((folder / "summary.json").read_text())["questions"] == 48


def test_a_process_that_dies_is_named_and_one_process_finishes_the_run(root, one_device, start, small_model):
    team, folder = start()
    first = team[0]
    killed = kill_after(team, 1, folder, parts=1)
    _, told = first.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert first.returncode == 75, told
    assert "process 1 gives no sign of life" in told and "unwritten parts" in told and "Traceback" not in told
    assert_same(one_device, annotate(root, folder, small_model, *CHOSEN, devices=8)[0])


@pytest.mark.verify
def test_four_processes_annotate_as_one_device_does_though_one_is_killed(one_device, start):
    team, folder = start(count=4)
    killed = kill_after(team, 2, folder, parts=1)
    others = [member for place, member in enumerate(team) if place != 2]
    told = [member.communicate(timeout=60)[1] for member in others]
    assert time.monotonic() - killed < 60
    assert [member.returncode for member in others] == [75, 75, 75], told
    assert "process 2 gives no sign of life" in told[0]
    team, _ = start(count=4)
    told = [member.communicate(timeout=600)[1] for member in team]
    assert [member.returncode for member in team] == [0, 0, 0, 0], told
    assert_same(one_device, pq.read_table(folder / "annotations.parquet").to_pandas())


def test_the_death_of_the_first_process_ends_the_others(start):
    team, folder = start()
    second = team[1]
    kill_after(team, 0, folder, parts=1)
    _, told = second.communicate(timeout=60)
    assert second.returncode == 75 and "annotate: process 0" in told and "same command" in told


def test_a_process_with_other_settings_is_refused(tmp_path):
    rows = [Example("1", "Who?", ("a",))]
    Parts(tmp_path, {"seed": 0}, rows, 8)
    Parts(tmp_path, {"seed": 0}, rows, 8, leads=False)
    with pytest.raises(InputError, match="process 0 .*protocol.seed was 0, is 1.* the same settings"):
        Parts(tmp_path, {"seed": 1}, rows, 8, leads=False)


def test_annotations_of_another_protocol_are_refused_when_their_parts_are_gone(tmp_path):
    rows, folder = [Example("1", "Who?", ("a",))], tmp_path / "annotations"
    Parts(folder, {"model": "A"}, rows, 8)
    Parts(folder, {"model": "B"}, rows, 8)  # nothing was measured yet
    (tmp_path / "annotations.parquet").touch()
    Parts(folder, {"model": "B"}, rows, 8)
    for protocol, asked in (({"model": "A"}, rows), ({"model": "B"}, rows * 2)):
        with pytest.raises(InputError, match="another protocol .*set another run_dir.* and annotations.parquet"):
            Parts(folder, protocol, asked, 8)
