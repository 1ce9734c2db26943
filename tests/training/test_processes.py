"""Several processes of pretrain, train and evaluate: the results of one, whoever is killed or told to stop."""

import json
import signal

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec
from tests.several import Job
from tests.training.fine_tuning import RUN, mixture_rows, write_mixture

ROWS, EPOCHS = 24, 3  # three steps an epoch
SETTINGS = {
    "model.scan_layers": False, "annotate.batch_tokens": 512, "train.variant": "mixed", "train.epochs": EPOCHS,
    "train.batch_size": 8, "train.peak_lr": 3e-3, "train.warmup_steps": 3, "train.dropout": 0.1, "train.accumulate": 1,
    "train.max_target_tokens": 12, "train.keep": "best,last",
}  # fmt: skip
PRETRAIN = {
    "data.kind": "world", "data.world.facts_per_relation": 40, "data.world.relations": 2,
    "data.world.ood_facts_per_relation": 30, "data.world.ood_relations": 1, "data.corpus.median_exposures": 6,
    "data.corpus.vocab_size": 600, "model.shape.d_model": 32, "model.shape.n_layers": 1, "model.shape.n_heads": 2,
    "model.shape.n_kv_heads": 2, "model.shape.head_dim": 16, "model.shape.d_mlp": 64, "pretrain.max_steps": 30,
    "pretrain.checkpoint_every": 10, "pretrain.warmup_steps": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def job(root, folder):
    """Starts a command in a run folder, which gets its mixture."""
    data = {name: folder / f"{place}.jsonl" for name, place in (("data.path", "rows"), ("data.dev_path", "dev"))}
    settings = SETTINGS | data | {"model.path": folder / "model"}

    def start(command, run_dir, count, devices=1, dies=None, **more):
        write_mixture(run_dir, mixture_rows(ROWS))
        chosen = PRETRAIN if command == "pretrain" else settings | more
        config = root / "configs" / "base.py"
        return Job(root, command, config, chosen | {"run_dir": run_dir}, count, devices=devices, dies=dies)

    return start


@pytest.fixture(scope="module")
def one(job, tmp_path_factory):
    """The run folder of one process on one device."""
    run_dir = tmp_path_factory.mktemp("one")
    with job("train", run_dir, 1) as running:
        running.finish()
    return run_dir


@pytest.fixture(scope="module")
def evaluated(job, one):
    """The same folder, the run's newest checkpoint evaluated by one process."""
    with job("evaluate", one, 1, **checkpoint_of(one)) as running:
        running.finish()
    return one


def checkpoint_of(run_dir):
    return {"evaluate.checkpoint": run_dir / RUN / "checkpoints"}


def assert_same_run(one, other):
    """Equal integers and texts, floats within 1e-5."""
    for name in ("fit.parquet", "answers.parquet"):
        assert pq.read_table(one / RUN / name).equals(pq.read_table(other / RUN / name)), name
    lines = [[json.loads(line) for line in (run / RUN / "metrics.jsonl").open()] for run in (one, other)]
    lines += [[json.loads((run / RUN / "result.json").read_text())] for run in (one, other)]
    for first, second in ((lines[0], lines[1]), (lines[2], lines[3])):
        assert_close(first, second)


def assert_close(first, second, where=""):
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        [assert_close(first[name], second[name], f"{where}/{name}") for name in first]
    elif isinstance(first, list):
        assert len(first) == len(second), where
        [assert_close(*pair, where) for pair in zip(first, second, strict=True)]
    elif isinstance(first, float):
        assert second == pytest.approx(first, rel=1e-5, abs=1e-5), where
    else:
        assert first == second, where


def assert_same_answers(one, other):
    """Of `slick evaluate`: the same rates, and the same row for every question."""
    found = [sorted((run / "evaluations").iterdir()) for run in (one, other)]
    assert [path.name for path in found[0]] == [path.name for path in found[1]] and len(found[0]) == 2
    assert json.loads(found[0][0].read_text()) == json.loads(found[1][0].read_text())
    assert pq.read_table(found[0][1]).equals(pq.read_table(found[1][1]))


def steps_saved(run_dir):
    return sorted(int(path.name) for path in (run_dir / RUN / "checkpoints").iterdir() if path.name.isdecimal())


def test_two_processes_train_as_one_does_stopped_and_killed_on_the_way(job, one, tmp_path):
    with job("train", tmp_path, 2, dies=(1, "step:2:SIGTERM")) as running:
        ends = running.end()
    (saved,) = steps_saved(tmp_path)
    assert [status for status, _ in ends] == [75, 75], ends
    for _, told in ends:
        assert f"train: stopped by a signal after step {saved} of 9, everything is saved" in told

    with job("train", tmp_path, 2, dies=(1, "asks:2:SIGKILL")) as running:
        (status, told), (killed, _) = running.end(lost=1)
    assert (status, killed) == (75, -signal.SIGKILL), told
    assert "train: process 1 gives no sign of life" in told and "goes on from its newest checkpoint" in told
    assert "Traceback" not in told

    with job("train", tmp_path, 2) as running:
        printed, quiet = running.finish()
    assert "EARLY_STOP" in printed and "EARLY_STOP" not in quiet
    assert_same_run(one, tmp_path)
    assert not (tmp_path / RUN / "processes").exists()
    with job("evaluate", tmp_path, 2, **checkpoint_of(one)) as running:
        printed, quiet = running.finish()
    assert "exact match" in printed and "exact match" not in quiet
    (found,) = (tmp_path / "evaluations").glob("*.json")
    last = json.loads((one / RUN / "metrics.jsonl").read_text().splitlines()[-1])  # what one process found of the same
    assert json.loads(found.read_text())["splits"] == {"dev": last["dev"]}


def finish(job, command, run_dir, count, dies, **more):
    """Run the command in `count` processes, once for each of `dies` and then to its end."""
    for lost, how in dies:
        with job(command, run_dir, count, dies=(lost, how), **more) as running:
            ends = running.end(lost=lost)
        assert ends[lost][0] == -signal.SIGKILL
        for index, (status, told) in enumerate(ends):
            if index != lost:
                assert status == 75 and f"{command}: process" in told and "same command" in told, ends
    with job(command, run_dir, count, **more) as running:
        running.finish()


@pytest.mark.verify
def test_four_processes_train_and_evaluate_as_one_does_whoever_is_lost(job, one, evaluated, tmp_path):
    finish(job, "train", tmp_path, 4, [(0, "step:5:SIGKILL"), (2, "step:2:SIGKILL"), (3, "asks:2:SIGSTOP")])
    assert_same_run(one, tmp_path)
    finish(job, "evaluate", tmp_path, 4, [(1, "asks:1:SIGKILL")], **checkpoint_of(one))
    assert_same_answers(evaluated, tmp_path)


@pytest.mark.verify
def test_a_model_over_four_processes_is_trained_as_on_one_device(job, one, evaluated, tmp_path):
    cut = {"mesh.data": 1, "mesh.fsdp": 4, "mesh.tensor": 2}  # every weight lies in all four processes
    finish(job, "train", tmp_path, 4, [(1, "step:5:SIGKILL")], devices=2, **cut)
    assert_same_run(one, tmp_path)
    finish(job, "evaluate", tmp_path, 4, [], devices=2, **cut, **checkpoint_of(one))
    assert_same_answers(evaluated, tmp_path)


@pytest.mark.verify
def test_two_processes_train_adapters_as_one_does(job, tmp_path):
    lora = {"train.lora.rank": 2, "train.peak_lr": 3e-2}
    finish(job, "train", tmp_path / "one", 1, [], **lora)
    finish(job, "train", tmp_path / "two", 2, [(1, "step:5:SIGKILL")], **lora)
    assert_same_run(tmp_path / "one", tmp_path / "two")


@pytest.mark.verify
@pytest.mark.parametrize("count", [2, 4])
def test_processes_pretrain_as_one_does(job, tmp_path, count):
    finish(job, "pretrain", tmp_path / "one", 1, [])
    finish(job, "pretrain", tmp_path / "many", count, [(count - 1, "call:2:SIGKILL"), (0, "call:2:SIGSTOP")])
    one, many = (tmp_path / name / "model" for name in ("one", "many"))
    for name in ("config.json", "tokenizer.json"):
        assert (one / name).read_bytes() == (many / name).read_bytes(), name
    network = Network(read_spec(one))
    loaded = [jax.tree.leaves(load_hf(folder, network)) for folder in (one, many)]
    for first, second in zip(*loaded, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-5)
