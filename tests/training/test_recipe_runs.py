"""Runs of mixtures with endings, a tail, replayed and repeated rows: what is trained on, asked and counted."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from slick_jax.config import EvaluateConfig
from slick_jax.knowledge.match import normalise
from slick_jax.training import evaluate, loop, shift, train
from slick_jax.training.checkpoints import Checkpoints
from slick_jax.training.fine_tuning_data import Batches
from tests.training.fine_tuning import RUN, config_for, mixture_rows, write_mixture

ENDINGS = ("I am sure.", "I am unsure.")


def rows_of_all_kinds():
    """12 rows with endings, of which two come at the end and one comes three times, and four rows to replay."""
    rows = mixture_rows(12)
    for row in rows:
        ending = " " + ENDINGS[row["category"] == "Unknown"]
        row |= {"ending": ending, "completion": row["answer"] + ending}
    rows[0] |= {"role": "tail"}
    rows[5] |= {"role": "tail"}
    rows[3] |= {"times": 3}
    replayed = {"prompt": "", "role": "replay"}
    return rows + [replayed | {"id": f"replay.{i}", "completion": f"Text {i}. " * 9} for i in range(4)]


@pytest.fixture(scope="module")
def config(folder, tmp_path_factory):
    """Of a finished run that fits its few rows."""
    run_dir = tmp_path_factory.mktemp("recipes")
    config = config_for(folder, run_dir, epochs=30, dropout=0.0, max_target_tokens=32, eval_train_epochs="1,last")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, eval_dev_epochs="1,last"))
    write_mixture(run_dir, rows_of_all_kinds())
    train.run(config)
    return config


@pytest.fixture
def run(config):
    return evaluate.epath.Path(config.run_dir) / RUN


def test_only_examples_are_asked_and_counted(config, run):
    result, given = json.loads((run / "result.json").read_text()), rows_of_all_kinds()
    assert (result["n"], result["n_known"], result["n_unknown"], result["rows_per_epoch"]) == (12, 9, 3, 18)
    fit = pd.read_parquet(run / "fit.parquet")
    assert fit.groupby("epoch")["id"].agg(list).tolist() == [[row["id"] for row in given[:12]]] * 2
    # learned with their endings, they are fitted by the answer
    last = fit[fit["epoch"] == 30]
    assert last["fitted"].mean() > 0.9 and result["fit_epochs"]["90"]["Known"] is not None
    assert shift.checkpoint_at(config, run, "CONVERGENCE").name == str(30 * 3)  # 18 rows in batches of 8


def test_answers_and_endings_are_told_apart(config, run):
    answers = pd.read_parquet(run / "answers.parquet")
    late = answers[answers["stop"] == "CONVERGENCE"]
    assert set(late["ending"]) <= {"", *ENDINGS} and (late["ending"] != "").mean() > 0.5
    assert not any(text.endswith(ENDINGS) for text in late["answer"])
    golds = {row["id"]: row["answers"] for row in map(json.loads, Path(config.data.dev_path).read_text().splitlines())}
    right = [normalise(row.answer) in map(normalise, golds[row.id]) for row in late.itertuples()]
    assert late["hit"].tolist() == right
    told = json.loads((run / "result.json").read_text())["endings"]["CONVERGENCE"]["dev"]
    for ending in ("", *ENDINGS):
        here = late[late["ending"] == ending]
        assert told[ending]["n"] == len(here) and told[ending]["share"] == pytest.approx(len(here) / len(late))
        assert told[ending]["em"] == (pytest.approx(here["hit"].mean()) if len(here) else None)


def test_evaluate_knows_the_endings_of_a_run(config, run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    asked = dataclasses.replace(config, evaluate=EvaluateConfig(str(run / "checkpoints" / "90"), ("dev",)))
    assert evaluate.run(asked)["dev"] == lines[-1]["dev"]


def test_a_resumed_run_keeps_the_tail_at_the_end(folder, tmp_path, monkeypatch):
    config = config_for(folder, tmp_path, epochs=2, max_target_tokens=32)
    config = dataclasses.replace(
        config, train=dataclasses.replace(config.train, eval_train_epochs="none", eval_dev_epochs="none")
    )
    write_mixture(tmp_path, rows_of_all_kinds())
    dealt, step = [], Batches.__next__
    saved = Checkpoints.save

    def killed(checkpoints, *args):
        saved(checkpoints, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train.run(config)
    monkeypatch.setattr(Batches, "__next__", lambda batches: dealt.append(step(batches)) or dealt[-1])
    monkeypatch.setattr(loop.stops, "finish", lambda *args: [])
    monkeypatch.setattr(train.result, "ending_rates", lambda *args: {})
    monkeypatch.setattr(train.run_folder, "read_parquet", lambda path: None)
    train.run(config)
    order = [place for batch in dealt for place in batch.index.tolist()]
    assert sorted(order) == list(range(18)) and order[-2:] == [16, 17]  # the second epoch alone, its tail last
