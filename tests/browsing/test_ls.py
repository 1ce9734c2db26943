"""slick ls: what a run folder is, its state and headline numbers; damage and haste."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pandas as pd
import pytest

from slick_jax.categories import CATEGORIES
from slick_jax.checkup import page
from slick_jax.checkup.intake import LeftOut
from slick_jax.files.claim import held, seems_held
from slick_jax.main import main
from tests.browsing.planted_runs import write, write_run
from tests.checkup.planted import planted, planted_rows


@pytest.fixture
def ls(capsys):
    """Runs `slick ls` on a folder; returns its lines."""

    def call(folder):
        assert main(["ls", str(folder)]) == 0
        return capsys.readouterr().out.splitlines()

    return call


def line_of(lines, start):
    return next(line for line in lines if line.startswith(f"  {start}  "))


def test_a_line_for_every_room_with_state_and_numbers(ls, tmp_path):
    write(tmp_path / "runs" / "first")
    lines = ls(tmp_path / "runs")
    assert lines[0] == str(tmp_path / "runs" / "first")
    annotated = line_of(lines, "annotate")
    shares = ", ".join(f"{name} 25.0 %" for name in CATEGORIES)
    assert f"finished: 4 questions: {shares}; " in annotated
    assert annotated.endswith("P_Correct greedy 0.375, sampled 0.125") and time.strftime("%Y-%m-%d") in annotated
    assert line_of(lines, "mix").endswith("finished: 1 mixtures, the largest of 2 examples")
    trained = line_of(lines, "train unknown_50 seed-0")
    assert trained.endswith("finished: 50 % Unknown; test 34.2 % at EARLY_STOP, 30.4 % at CONVERGENCE")
    assert line_of(lines, "train unknown_50 seed-1").endswith("stopped at epoch 2 of 5")
    assert len(lines) == 5


def test_what_a_process_is_at_work_on_is_running(ls, tmp_path):
    run = write(tmp_path) / "train/unknown_50/seed-1"
    with held(run):
        assert seems_held(run)
        assert line_of(ls(tmp_path), "train unknown_50 seed-1").endswith("running at epoch 2 of 5")
    assert not seems_held(run)
    assert line_of(ls(tmp_path), "train unknown_50 seed-1").endswith("stopped at epoch 2 of 5")


def test_a_process_that_was_killed_is_not_running(tmp_path):
    child = "import sys, os; from slick_jax.files.claim import held\nwith held(sys.argv[1]): os._exit(0)"
    subprocess.run([sys.executable, "-c", child, str(tmp_path)], check=True)
    assert (tmp_path / "owner.json").exists() and not seems_held(tmp_path)


def test_looking_takes_no_lock(tmp_path):
    with held(tmp_path):
        before = (tmp_path / "owner.json").stat().st_mtime_ns
        seems_held(tmp_path)
        assert (tmp_path / "owner.json").stat().st_mtime_ns == before
    names = sorted(os.listdir(tmp_path))
    seems_held(tmp_path)
    assert sorted(os.listdir(tmp_path)) == names


def test_an_unfinished_annotation_counts_its_questions(ls, tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"questions": 9}))
    for part in range(2):
        pd.DataFrame({"id": ["a", "b", "c"]}).to_parquet(tmp_path / f"annotations/part-0000{part}.parquet")
    assert line_of(ls(tmp_path), "annotate").endswith("stopped at 6 of 9 questions")


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("annotations.parquet", "annotate"), ("mixtures/manifest.json", "mix"),
        ("train/unknown_50/seed-0/result.json", "train unknown_50 seed-0"),
        ("train/unknown_50/seed-1/metrics.jsonl", "train unknown_50 seed-1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("content", [b'{"a', b"[1]", b"null", b"\xff\x00"])
def test_a_damaged_file_is_told_in_its_line(ls, tmp_path, file, what, content):
    write(tmp_path)
    (tmp_path / file).write_bytes(content)
    lines = ls(tmp_path)
    assert len(lines) == 5
    if not (content == b"null" and file.endswith("json")):  # as if it were not there
        assert "damaged" in line_of(lines, what)


def test_precision_of_a_longform_study(ls, tmp_path):
    (tmp_path / "longform/report").mkdir(parents=True)
    (tmp_path / "longform/report/index.html").touch()
    found = {"arm": ["BASE", "GOLD", "GEN", "GEN", "GEN"], "split": ["test", "test", "test", "dev", "test"]}
    found["precision"] = [0.5, 0.6, 0.8, 0.0, None]
    pd.DataFrame(found).to_parquet(tmp_path / "longform/answers.parquet")
    assert line_of(ls(tmp_path), "longform").endswith("finished: precision BASE 50.0 %, GEN 80.0 % (best of 2 arms)")


def test_shares_that_the_doctor_found(ls, tmp_path):
    counts = {"HighlyKnown": 20, "MaybeKnown": 10, "WeaklyKnown": 5, "Unknown": 15}
    found, config = planted(tmp_path, planted_rows(counts))
    left_out = [LeftOut("rows.jsonl:7", "answer is empty; fill it in", {})]
    found = dataclasses.replace(found, intake=dataclasses.replace(found.intake, left_out=left_out))
    page.write(tmp_path / "doctor", config, found, [], {})
    write(tmp_path)
    shares = "HighlyKnown 40.0 %, MaybeKnown 20.0 %, WeaklyKnown 10.0 %, Unknown 30.0 %"
    assert line_of(ls(tmp_path), "doctor").endswith(f"finished: 50 rows: {shares}; 1 left out")
    (tmp_path / "doctor" / "summary.json").write_text("{}")
    assert "damaged" in line_of(ls(tmp_path), "doctor")
    (tmp_path / "doctor" / "index.html").unlink()
    assert line_of(ls(tmp_path), "doctor").endswith("stopped")


def test_folders_below_and_folders_without_runs(ls, tmp_path, capsys):
    write(tmp_path / "runs/a/b")
    (tmp_path / "runs/empty").mkdir()
    assert ls(tmp_path / "runs")[0].endswith("runs/a/b")
    assert ls(tmp_path / "runs/empty") == [f"{tmp_path}/runs/empty: no run folders here"]
    assert ls(tmp_path / "runs/a/b/train/unknown_50/seed-1")[1].endswith("stopped at epoch 2 of 5")
    for wrong in (["ls", str(tmp_path / "absent")], ["ls", "--config=x.py"], ["ls", "a", "b"]):
        assert main(wrong) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_hundreds_of_runs_take_a_second_or_two_and_no_jax(tmp_path):
    write(tmp_path / "study")
    for seed in range(300):
        write_run(tmp_path / f"study/train/natural/seed-{seed}", {"author.2": [True]})
    code = "import sys; from slick_jax.main import main; main(sys.argv[1:]); sys.exit('jax' in sys.modules)"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, "ls", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 305
    assert time.perf_counter() - started < 30  # 2 s on an idle core
