"""`slick study`: which runs it starts, with which settings, what it shares with others, and what when one fails."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time

import pytest

from slick_jax.config import Config, StudyConfig, TrainConfig
from slick_jax.data.mix import content_digest
from slick_jax.errors import InputError, Stopped
from slick_jax.files.claim import Busy, held
from slick_jax.processes import presence, workers
from slick_jax.training import study, train
from tests.analysis import planted
from tests.training.fine_tuning import config_for, make_folder, mixture_rows, write_mixture

VARIANTS = ["unknown_0", "unknown_50", "known_only_50"]
ALL = [(variant, seed) for seed in (0, 1) for variant in VARIANTS]


@pytest.fixture(autouse=True)
def plain_pages(monkeypatch):
    """Reports without figures, which take most of their time: what a page shows is tested in tests/analysis."""
    monkeypatch.setattr("slick_jax.analysis.gallery.draw", lambda *_: ([], []))


@pytest.fixture
def folder(tmp_path):
    """A run folder with three mixtures and nothing trained."""
    planted.write_manifest(tmp_path, VARIANTS)
    planted.write_annotations(tmp_path)
    return tmp_path


@pytest.fixture
def started(folder, monkeypatch):
    """Takes the place of the training command: plants a finished run; a name in `fails` raises instead."""
    calls = []

    def run(config, watch, ask):
        variant, seed = config.train.variant, config.train.seed
        calls.append(config)
        if (variant, seed) in run.fails:
            raise run.fails[variant, seed]
        plant(folder, variant, seed)
        watch()

    run.calls, run.fails = calls, {}
    monkeypatch.setattr("slick_jax.training.train.run", run)
    return run


def plant(folder, variant, seed):
    """A finished run, in a folder that may be there."""
    with tempfile.TemporaryDirectory() as made:
        planted.write_run(made, variant, planted.mixture(40, 50), seed, epochs=3)
        shutil.copytree(f"{made}/train", folder / "train", dirs_exist_ok=True)


def config_of(folder, **settings):
    return Config(run_dir=str(folder), train=TrainConfig(epochs=3, peak_lr=1e-4), study=StudyConfig(**settings))


def names(started):
    return [(config.train.variant, config.train.seed) for config in started.calls]


def test_every_variant_and_seed_runs_once_with_the_settings_of_the_study(folder, started):
    page = study.run(config_of(folder, seeds=(0, 3)))
    assert names(started) == [(variant, seed) for seed in (0, 3) for variant in VARIANTS]
    assert all((config.train.epochs, config.train.peak_lr) == (3, 1e-4) for config in started.calls)
    assert page.exists() and page.name == "index.html"


def test_finished_runs_are_handed_to_training_too_which_checks_their_settings(folder, started):
    planted.write_run(folder, "unknown_0", planted.mixture(40, 0), epochs=3)
    started.fails["unknown_0", 0] = InputError("this folder belongs to a run with other settings")
    with pytest.raises(InputError, match="unknown_0, seed 0: this folder belongs to a run with other settings"):
        study.run(config_of(folder))
    assert names(started) == [(variant, 0) for variant in VARIANTS]


def test_the_questions_are_read_once_for_all_runs(folder, started, monkeypatch):
    read = []
    monkeypatch.setattr(study, "questions", lambda config: read.append(config) or ({}, None))

    def run(config, watch, ask):
        assert ask(config) == ({}, None)
        started(config, watch, ask)

    monkeypatch.setattr("slick_jax.training.train.run", run)
    study.run(config_of(folder))
    assert len(started.calls) == 3 and len(read) == 1


def test_only_the_chosen_variants_run(folder, started):
    study.run(config_of(folder, variants=("known_only_50", "unknown_0")))
    assert names(started) == [("known_only_50", 0), ("unknown_0", 0)]


def test_a_failing_run_keeps_no_other_from_running_and_failures_come_together(folder, started):
    started.fails = {
        ("unknown_0", 0): InputError("the loss is nan"),
        ("unknown_0", 1): InputError("no space left"),
        ("unknown_50", 1): InputError("no space left"),
    }
    with pytest.raises(InputError) as error:
        study.run(config_of(folder, seeds=(0, 1)))
    assert len(started.calls) == 6
    message = str(error.value)
    assert "3 of 6 runs failed" in message
    assert "unknown_0, seed 0: the loss is nan" in message
    assert "unknown_0, seed 1; unknown_50, seed 1: no space left" in message
    assert (folder / "report" / "index.html").exists()


def test_a_damaged_file_of_one_run_is_the_failure_of_that_run_alone(folder, started):
    damaged = folder / "train" / "unknown_50" / "seed-0"
    damaged.mkdir(parents=True)
    (damaged / "metrics.jsonl").write_text('{"epoch": 1, "lo')
    started.fails["unknown_50", 0] = InputError("metrics.jsonl: not valid JSON lines")
    with pytest.raises(InputError, match="1 of 3 runs failed\n  - unknown_50, seed 0: metrics.jsonl: not valid"):
        study.run(config_of(folder))
    assert names(started) == [(variant, 0) for variant in VARIANTS]


def test_a_signal_stops_the_whole_study(folder, started):
    started.fails["unknown_50", 0] = Stopped("saved at step 7")
    with pytest.raises(Stopped):
        study.run(config_of(folder))
    assert names(started) == [("unknown_0", 0), ("unknown_50", 0)]


def test_unknown_variants_are_refused_before_anything_runs(folder, started):
    with pytest.raises(InputError) as error:
        study.run(config_of(folder, variants=("unknown_05", "unknown_0", "nothing")))
    assert "did you mean 'unknown_0'" in str(error.value) and "'nothing'" in str(error.value)
    assert started.calls == []


def test_without_mixtures_the_next_step_is_named(tmp_path, started):
    with pytest.raises(InputError, match="slick mix"):
        study.run(config_of(tmp_path / "empty"))


@pytest.fixture
def shifted(monkeypatch):
    """Takes the place of annotating a tuned model."""
    calls = []

    def measure(config, run, stop):
        calls.append((run.parent.name, run.name, stop))
        (run / f"shift-{stop}").mkdir(exist_ok=True)
        planted.write_annotations(run / f"shift-{stop}")

    monkeypatch.setattr("slick_jax.training.shift.measure", measure)
    return calls


def test_the_chosen_models_are_annotated_again(folder, started, shifted):
    study.run(config_of(folder, shift=("unknown_50",), shift_stops=("EARLY_STOP", "CONVERGENCE")))
    assert shifted == [("unknown_50", "seed-0", "EARLY_STOP"), ("unknown_50", "seed-0", "CONVERGENCE")]
    shifted.clear()
    study.run(config_of(folder, seeds=(0, 1), shift=("all",)))
    assert shifted == [(name, f"seed-{seed}", "CONVERGENCE") for seed in (0, 1) for name in VARIANTS]
    with pytest.raises(InputError, match="config.study.shift: unknown_1 is not among"):
        study.run(config_of(folder, shift=("unknown_1",)))


def test_shards_take_every_run_once_and_the_report_says_what_is_missing(folder, started, shifted, capsys):
    chosen = {"seeds": (0, 1), "shift": ("unknown_50",)}
    taken = []
    for number in (1, 0):
        page = study.run(config_of(folder, **chosen, shard=f"{number}/2"))
        taken.append(names(started))
        printed, told = capsys.readouterr()
        assert told.splitlines()[-1].startswith(f"study {number}/2: ")
        missing = {name for name in ALL if f"{name[0]}, seed {name[1]}: not started" in printed}
        assert page.exists() and missing == {*ALL} - {*names(started)}
    assert sorted(taken[1]) == sorted(ALL) and len(taken[0]) == 3
    assert {run[:2] for run in shifted} == {("unknown_50", "seed-0"), ("unknown_50", "seed-1")}


def test_a_shard_that_died_is_started_again_and_leaves_what_is_finished_and_what_others_have(folder, started):
    chosen = config_of(folder, seeds=(0, 1), shard="0/2")
    own = [(unit.variant, unit.seed) for unit in study.units(chosen)]
    started.fails[own[1]] = Stopped("killed")
    with pytest.raises(Stopped):
        study.run(chosen)
    started.fails.clear()
    study.run(chosen)
    assert names(started)[2:] == own  # a finished one is handed on, too: training checks its settings and leaves it
    assert not (folder / "train" / "unknown_50" / "seed-1" / "result.json").exists() or ("unknown_50", 1) in own


def test_more_shards_than_runs(folder, started, capsys):
    assert study.run(config_of(folder, shard="5/6")).exists()
    assert started.calls == []
    assert "shard 5/6: no runs" in capsys.readouterr().out


@pytest.fixture
def other(folder, monkeypatch):
    """Another process at work on the first run, which gives it up when this one has to wait for it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(held(folder / "train" / "unknown_0" / "seed-0"))
        monkeypatch.setattr(study.time, "sleep", lambda _: stack.close())
        yield stack


def test_a_run_that_another_process_finishes_is_left_to_it(folder, started, other):
    other.callback(plant, folder, "unknown_0", 0)
    study.run(config_of(folder))
    assert names(started) == [("unknown_50", 0), ("known_only_50", 0)]


def test_a_run_that_its_process_leaves_unfinished_is_taken_over(folder, started, other):
    study.run(config_of(folder))
    assert names(started) == [("unknown_50", 0), ("known_only_50", 0), ("unknown_0", 0)]


def test_a_run_that_is_snatched_away_is_no_failure(folder, started, monkeypatch):
    run, snatched = train.run, []

    def snatch(config, watch, ask):
        run(config, watch, ask)
        if not snatched:
            snatched.append(config.train.variant)
            raise Busy("another process is at work there")

    monkeypatch.setattr("slick_jax.training.train.run", snatch)
    study.run(config_of(folder))
    assert names(started) == [(variant, 0) for variant in VARIANTS]


def test_only_the_last_process_reports(folder, started, capsys):
    with held(folder / "study" / "another"):
        assert study.run(config_of(folder)) is None
    assert "another process is at work and will write the report" in capsys.readouterr().out
    assert not (folder / "report").exists()
    assert study.run(config_of(folder)).exists()


def test_the_progress_is_that_of_the_whole_study(folder, started, shifted, capsys):
    study.run(config_of(folder, shift=("unknown_0",)))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("study: 10 of 10 epochs, 3 of 3 runs, ")  # 3 x 3, and 1 for the annotation


# Real processes.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


def real_config(tiny, run_dir, **settings):
    config = config_for(tiny, run_dir, variant="", epochs=2)
    rows = {"mixed": mixture_rows(), "other": mixture_rows(20)}
    for name, chosen in rows.items():
        write_mixture(run_dir, chosen, name)
    variants = {
        name: {"n": len(rows), "sha256": content_digest((row["id"], row["answer"]) for row in chosen)}
        for name, chosen in rows.items()
    }
    (run_dir / "mixtures" / "manifest.json").write_text(json.dumps({"variants": variants}))
    return dataclasses.replace(config, study=StudyConfig(**settings))


def files_of(run_dir):
    names = ("metrics.jsonl", "fit.parquet", "answers.parquet", "result.json")
    found = [path for name in names for path in run_dir.glob(f"train/*/*/{name}")]
    return {path.relative_to(run_dir): path.read_bytes() for path in found}


def test_processes_share_the_runs_and_take_over_from_a_killed_one(tiny, tmp_path, monkeypatch):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    study.run(real_config(tiny, alone))
    killed = []

    def kill_first():
        process = multiprocessing.active_children()[0]
        if not killed and any((shared / "train").glob("*/*/metrics.jsonl")):
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    sleep = time.sleep
    monkeypatch.setattr(workers.time, "sleep", lambda seconds: kill_first() if not killed else sleep(seconds))
    page = study.run(real_config(tiny, shared, processes=2))
    assert killed and page.exists()
    assert len(files_of(alone)) == 8 and files_of(shared) == files_of(alone)


def test_a_failure_is_told_to_the_other_processes_and_tried_again_by_the_next_study(folder, started):
    started.fails = {("unknown_0", 0): InputError("the loss is nan")}
    config, failed = config_of(folder), {"the loss is nan": ["unknown_0, seed 0"]}
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, peak_lr=1e-5))
    with presence.told(folder) as alone:
        for process in (config, config_of(folder, shard="0/1", processes=2), other):
            assert study.work_on(process) == failed
        assert names(started).count(("unknown_0", 0)) == 2  # other settings may be what it wants
    assert alone() and not (folder / presence.FOLDER).exists()
    with presence.told(folder):
        assert study.work_on(config) == failed
    assert names(started).count(("unknown_0", 0)) == 3


def test_failures_of_workers_come_together(tiny, tmp_path):
    config = real_config(tiny, tmp_path, processes=2)
    with (tmp_path / "mixtures" / "other.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match="1 of 2 runs failed\n  - other, seed 0: .*prompt is missing"):
        study.run(config)
    assert (tmp_path / "train" / "mixed" / "seed-0" / "result.json").exists()


def fails_at_length(config):
    """Work with more to say than a pipe holds."""
    return {"the loss is nan " * 10_000: [f"run {number}" for number in range(3)]}


def test_workers_with_much_to_say_are_heard(tmp_path):
    begun = time.monotonic()

    def watch():
        assert time.monotonic() - begun < 60

    failed, broken = workers.share(config_of(tmp_path, processes=2), fails_at_length, watch)
    assert failed == fails_at_length(None) and not broken


def fails_by_a_bug(config):
    raise ZeroDivisionError("a bug")


def test_a_bug_in_the_workers_is_told_as_one_and_not_as_a_stop(folder, monkeypatch, capfd):
    monkeypatch.setattr(study, "work_on", fails_by_a_bug)
    with pytest.raises(RuntimeError, match="2 processes of the study failed, see the tracebacks above"):
        study.run(config_of(folder, processes=2))
    assert "ZeroDivisionError: a bug" in capfd.readouterr().err


def test_a_crash_beside_a_failure_is_told(folder, monkeypatch):
    monkeypatch.setattr(workers, "share", lambda *_: ({"no space left": ["unknown_0, seed 0"]}, 1))
    with pytest.raises(InputError, match="seed 0: no space left\n.*1 processes of the study failed as well"):
        study.run(config_of(folder, processes=2))


def test_workers_leave_no_core_idle(monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(8)))
    shares = workers._shares(3)
    assert sorted(core for share in shares for core in share) == [*range(8)]
    assert sorted(map(len, shares)) == [2, 3, 3]
    assert workers._shares(9)[8] == {*range(8)}
