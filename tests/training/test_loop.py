"""`slick train`: files, exact resuming, meshes, retention."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from orbax.checkpoint import v1 as ocp

from slick_jax.config import MeshConfig, TrainConfig
from slick_jax.errors import InputError, Stopped
from slick_jax.mesh import batch_sharding, make_mesh, place
from slick_jax.models.transformer import Network
from slick_jax.models.weights import read_spec
from slick_jax.training import loop, train
from slick_jax.training.checkpoints import Checkpoints, load_params
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.programs import programs_of
from slick_jax.training.record import Record
from slick_jax.training.step import Measured, abstract_state
from tests.training.fine_tuning import RUN, N, config_for, mixture_rows


def lines_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(one, other):
    """Equal bytes of everything measured, and bitwise equal parameters and optimizer state."""
    for name in ("metrics.jsonl", "fit.parquet", "answers.parquet", "result.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    mine, theirs = (load_state(run) for run in (one, other))
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def load_state(run):
    network = Network(read_spec(run / "checkpoints"))
    optimizer = make_optimizer(settings_of(run), 1, network.decay_mask())
    with Checkpoints(run / "checkpoints") as checkpoints:
        return checkpoints.load(abstract_state(network, optimizer))


def settings_of(run):
    return TrainConfig(**json.loads((run / "train.json").read_text())["train"])


def interrupt(monkeypatch, at, act):
    """Lets `act` happen when the loss of step `at` has been looked at."""
    take = loop._take

    def taken(job, tally, step, batch, measured):
        take(job, tally, step, batch, measured)
        if step == at:
            act()

    monkeypatch.setattr(loop, "_take", taken)


class Killed(Exception):
    pass


def kill():
    raise Killed


def test_the_files_of_a_run(finished):
    lines = lines_of(finished)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    fit = pq.read_table(finished / "fit.parquet").to_pandas()
    assert len(fit) == 4 * N
    for line in lines:
        assert line["train"]["n"] == N and set(line["train"]["by_category"]) == {
            row["category"] for row in mixture_rows()
        }
        fitted = fit[fit.epoch == line["epoch"]]
        assert line["train"]["em"] == pytest.approx(fitted.fitted.mean())
        for category, rate in line["train"]["by_category"].items():
            assert rate["em"] == pytest.approx(fitted[fitted.category == category].fitted.mean())
        assert line["dev"]["by_category"] == {}  # not annotated
    result = json.loads((finished / "result.json").read_text())
    dev = [line["dev"]["em"] for line in lines]
    assert (result["n"], result["n_known"], result["n_unknown"], result["percent_unknown"]) == (N, 33, 11, 25.0)
    assert result["early_stop_epoch"] == 1 + dev.index(max(dev))
    assert result["convergence_epoch"] == 4
    assert result["convergence"]["dev"]["em"] == dev[-1]
    assert result["convergence"]["train"] == {
        name: lines[-1]["train"][name] for name in ("em", "n", "abstained", "by_category")
    }


def test_a_finished_run_is_left_alone(folder, finished, capsys):
    before = (finished / "metrics.jsonl").stat().st_mtime_ns
    train.run(config_for(folder, finished.parents[2]))
    assert "is finished" in capsys.readouterr().out
    assert (finished / "metrics.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize("at", [None, 5, 23])
def test_killed_anywhere_a_run_ends_alike(folder, finished, tmp_path, monkeypatch, at):
    at = random.randrange(3, 23) if at is None else at
    print("killed at step", at)
    with monkeypatch.context() as patch:
        interrupt(patch, at, kill)
        with pytest.raises(Killed):
            train.run(config_for(folder, tmp_path))
    assert not (tmp_path / RUN / "result.json").exists()
    train.run(config_for(folder, tmp_path))
    assert_same_run(tmp_path / RUN, finished)


@pytest.mark.parametrize("at", [8, 15])
def test_sigterm_in_the_middle_of_an_epoch_saves_there(folder, finished, tmp_path, monkeypatch, at):
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        interrupt(patch, at - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped, match="run it again"):
            train.run(config_for(folder, tmp_path))
    assert signal.getsignal(signal.SIGTERM) is handler
    with Checkpoints(tmp_path / RUN / "checkpoints") as checkpoints:
        assert checkpoints.latest in (at, at + 1) and checkpoints.latest % 6
    train.run(config_for(folder, tmp_path))
    assert_same_run(tmp_path / RUN, finished)


@pytest.mark.parametrize("epoch", [2, 4])
def test_sigterm_while_asking_stops_at_once(folder, finished, tmp_path, monkeypatch, epoch):
    with monkeypatch.context() as patch:
        complete, done = Record.complete, []

        def signalled(record, number, *rest):
            if number == epoch:
                os.kill(os.getpid(), signal.SIGTERM)
                done.append(number)  # not reached: the signal raises
            complete(record, number, *rest)

        patch.setattr(Record, "complete", signalled)
        with pytest.raises(Stopped, match=f"after step {6 * epoch} of 24"):
            train.run(config_for(folder, tmp_path))
    assert not done and len(lines_of(tmp_path / RUN)) == epoch - 1
    train.run(config_for(folder, tmp_path))
    assert_same_run(tmp_path / RUN, finished)


def test_real_signals_to_a_process(folder, finished, tmp_path):
    """SIGTERM ends with status 75, kill -9 ends at once; what follows is the undisturbed run, to the last bit."""
    config = config_for(folder, tmp_path)
    names = [field.name for field in dataclasses.fields(config.train)]
    left = ("keep", "writers", "lora")  # as they are by default
    settings = {f"train.{name}": getattr(config.train, name) for name in names if name not in left}
    settings |= {
        "run_dir": tmp_path, "data.path": config.data.path, "data.dev_path": config.data.dev_path,
        "model.path": config.model.path, "model.scan_layers": False, "annotate.batch_tokens": 512,
    }  # fmt: skip
    (tmp_path / "c.py").write_text("from slick_jax.config import defaults as get_config\n")
    overrides = [f"--config.{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "slick_jax.main", "train", f"--config={tmp_path / 'c.py'}", *overrides]
    for epochs, number, status in ((1, signal.SIGTERM, 75), (2, signal.SIGKILL, -9)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for_lines(tmp_path / RUN, epochs, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode in (status, 0), errors  # 0: it was too quick for the signal
        if process.returncode == 75:
            assert "run it again" in errors and "Traceback" not in errors
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert_same_run(tmp_path / RUN, finished)


def wait_for_lines(run, n, process):
    while process.poll() is None:
        if (run / "metrics.jsonl").exists() and len(lines_of(run)) >= n:
            return
        time.sleep(0.01)


def steps_losses(config, sizes, devices, asks=False):
    """Losses of the steps and the state that training ended with. `asks`: dev questions after the last epoch, too."""
    asked = dataclasses.replace(config.train, eval_train_epochs="none", eval_dev_epochs="last" if asks else "none")
    config = dataclasses.replace(config, train=asked)
    job, losses = job_of(config, make_mesh(sizes, jax.devices()[:devices])), []
    with pytest.MonkeyPatch.context() as patch:
        take = loop._take
        patch.setattr(loop, "_take", lambda *seen: losses.append(float(seen[-1].loss)) or take(*seen))
        if not asks:
            patch.setattr(loop.stops, "finish", lambda *_: [])
        loop.train(job)
    n_steps = job.per_epoch * config.train.epochs
    optimizer = make_optimizer(config.train, n_steps, job.network.decay_mask())
    with Checkpoints(job.folder / "checkpoints") as checkpoints:
        return losses, checkpoints.load(abstract_state(job.network, optimizer, job.mesh))


def job_of(config, mesh):
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "make_mesh", lambda sizes: mesh)
        patch.setattr(loop, "train", lambda job: caught.append(job) or [])
        patch.setattr(loop, "prune", lambda *a: None)
        patch.setattr(train.result, "summarise", lambda *a: {})
        patch.setattr(train.result, "text", lambda *a: "")
        train.run(config)
    return caught[0]


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    return steps_losses(config_for(folder, tmp_path_factory.mktemp("alone")), MeshConfig(1, 1, 1), 1)


@pytest.mark.parametrize("sizes", [MeshConfig(8, 1, 1), MeshConfig(1, 8, 1), MeshConfig(2, 2, 2)])
def test_any_mesh_gives_the_same_losses(folder, tmp_path, alone, sizes):
    losses, state = steps_losses(config_for(folder, tmp_path), sizes, 8)
    assert len(losses) == 24
    np.testing.assert_allclose(losses, alone[0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), state.params, alone[1].params)


@pytest.mark.parametrize("sizes", [MeshConfig(1, 8, 1), MeshConfig(2, 2, 2)])
def test_parameters_and_moments_are_really_cut(folder, tmp_path, sizes):
    config = config_for(folder, tmp_path)
    job = job_of(config, make_mesh(sizes))
    programs = programs_of(config.train, job.network, job.mesh, 24)
    with jax.set_mesh(job.mesh):
        state = programs.start(loop.weights.load_hf(job.model, job.network, job.mesh))
        batches = loop.Batches(job.rows, batch_size=8, epochs=1, seed=0, multiple=8)
        rows = jax.tree.map(lambda part: place(part, batch_sharding(job.mesh, part.ndim)), next(batches).rows)
        assert rows.tokens.sharding.spec[0] == ("data", "fsdp")
        state, *_ = programs.step(state, rows, None, rng=jax.random.key(0))
    adam = next(
        part for part in jax.tree.leaves(state.opt_state, is_leaf=lambda x: hasattr(x, "mu")) if hasattr(part, "mu")
    )
    for tree in (state.params, adam.mu, adam.nu):
        for part, ways in (("gate", 8 if sizes.fsdp == 8 else 4), ("down", 8 if sizes.fsdp == 8 else 4)):
            leaf = tree["layers"]["mlp"][part]["kernel"]
            assert not leaf.sharding.is_fully_replicated
            assert leaf.addressable_shards[0].data.size * ways == leaf.size


def test_retention(folder, tmp_path):
    config = config_for(folder, tmp_path, keep=("best",), keep_every=3)
    train.run(config)
    result = json.loads((tmp_path / RUN / "result.json").read_text())
    with Checkpoints(tmp_path / RUN / "checkpoints") as checkpoints:
        assert checkpoints.steps == sorted({6 * result["early_stop_epoch"], 18})
    params = load_params(tmp_path / RUN / "checkpoints", Network(read_spec(folder / "model")), step=18)
    assert np.isfinite(params["embedding"]["table"]).all()


def test_a_run_that_was_killed_before_it_removed_checkpoints_does_it_when_it_is_started_again(
    folder, tmp_path, monkeypatch
):
    config = config_for(folder, tmp_path, keep=("last",), keep_every=0)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "prune", killed)
        train.run(config)
    assert (tmp_path / RUN / "result.json").exists()
    with Checkpoints(tmp_path / RUN / "checkpoints") as checkpoints:
        assert 24 in checkpoints.steps and len(checkpoints.steps) > 1
    monkeypatch.setattr(train, "render", killed)  # nor is anything tokenised for it
    for keep in (("last",), ("best", "last")):  # a finished run is left as it is, whatever is kept today
        train.run(dataclasses.replace(config, train=dataclasses.replace(config.train, keep=keep)))
        with Checkpoints(tmp_path / RUN / "checkpoints") as checkpoints:
            assert checkpoints.steps == [24]
    assert not (tmp_path / RUN / loop.WANTED).exists()


def test_splits_are_asked_when_told_and_for_the_headline(folder, tmp_path):
    config = config_for(folder, tmp_path, eval_train_epochs="2", eval_dev_epochs="1-3")
    train.run(config)
    lines = lines_of(tmp_path / RUN)
    assert ["train" in line for line in lines] == [False, True, False, False]
    assert ["dev" in line for line in lines] == [True, True, True, False]
    result = json.loads((tmp_path / RUN / "result.json").read_text())
    for stop in ("early_stop", "convergence"):  # asked of the kept checkpoint where the epoch was left out
        assert set(result[stop]) == {"train", "dev"}
    assert set(pq.read_table(tmp_path / RUN / "fit.parquet")["epoch"].to_pylist()) == {2}


def test_a_loss_that_is_not_finite_names_the_batch_and_binds_nothing(folder, finished, tmp_path):
    config = config_for(folder, tmp_path, peak_lr=1e30, warmup_steps=0, clip_norm=0.0)
    what = r"(loss|norm) is (nan|inf) at step \d, batch \d of epoch 1 \(rows .*train.peak_lr"
    with pytest.raises(InputError, match=what):
        train.run(config)
    train.run(config_for(folder, tmp_path))  # nothing was saved, so the folder is free for other settings
    assert_same_run(tmp_path / RUN, finished)


def test_a_gradient_that_is_not_finite_is_noticed_at_once(folder, tmp_path):
    job = job_of(config_for(folder, tmp_path), make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1]))
    batch = next(loop.Batches(job.rows, batch_size=8, epochs=1, seed=0))
    with pytest.raises(InputError, match="the gradient's norm is nan at step 7, batch 2 of epoch 2"):
        loop._take(job, loop.Tally(), 7, batch, Measured(np.float32(1.5), np.float32("nan")))


@pytest.mark.parametrize("epoch", [2, 4])
def test_killed_while_asking_an_epoch_is_not_trained_again(folder, finished, tmp_path, monkeypatch, epoch):
    with monkeypatch.context() as patch:
        ask, asked = Record.ask, []
        patch.setattr(Record, "ask", lambda *a: asked.append(0) or (kill() if len(asked) == epoch else ask(*a)))
        with pytest.raises(Killed):
            train.run(config_for(folder, tmp_path))
    assert len(lines_of(tmp_path / RUN)) == epoch - 1
    with monkeypatch.context() as patch:
        interrupt(patch, 6 * epoch - 1, lambda: pytest.fail("the epoch was trained again"))
        train.run(config_for(folder, tmp_path))
    assert_same_run(tmp_path / RUN, finished)


def test_a_checkpoint_that_cannot_be_written_loses_nothing(folder, finished, tmp_path, monkeypatch):
    config = config_for(folder, tmp_path)
    with monkeypatch.context() as patch:
        interrupt(patch, 11, lambda: patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10)))
        with pytest.raises(InputError, match=r"the checkpoint of step 12 takes .* MB and the disk has 0.0 MB left"):
            train.run(config)

    def full(checkpointer, step, parts, force):
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']")

    with monkeypatch.context() as patch:
        patch.setattr(ocp.training.Checkpointer, "save_checkpointables", full)
        with pytest.raises(InputError, match=r"the checkpoint of step 12 cannot be written \(RESOURCE_EXHAUSTED.*free"):
            train.run(config)
    assert len(lines_of(tmp_path / RUN)) == 1
    train.run(config)
    assert_same_run(tmp_path / RUN, finished)


@pytest.mark.parametrize("ended", [False, True])
def test_removing_what_a_damaged_checkpoint_asks_for_leads_to_the_same_end(folder, tmp_path, finished, ended):
    run, config = tmp_path / RUN, config_for(folder, tmp_path)
    shutil.copytree(finished, run)
    step = min(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())  # one of EARLY_STOP
    for path in (run / "checkpoints" / str(step) / "params").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(InputError, match=rf"checkpoints/{step}: this checkpoint cannot be read .*; remove .*") as told:
        if ended:
            load_params(run / "checkpoints", Network(read_spec(run / "checkpoints")), step=step)
        else:
            (run / "result.json").unlink()
            train.run(config)
    named = str(told.value).partition("; remove ")[2].partition(":")[0].split(", ")
    assert (str(run / "result.json") in named) == ended
    for path in map(Path, named):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    train.run(config)
    assert_same_run(run, finished)
