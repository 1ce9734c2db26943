"""answers.parquet: the answers at both stopping points, those of the checkpoints, whenever the run was killed."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from slick_jax.config import EvaluateConfig
from slick_jax.knowledge.greedy import GreedyEvaluator
from slick_jax.knowledge.match import Golds, matcher
from slick_jax.training import evaluate, train
from slick_jax.training.stops import ANSWERS_SCHEMA
from tests.training.fine_tuning import RUN, config_for, world


def answers_of(run):
    return pd.read_parquet(run / "answers.parquet")


def test_both_stops_hold_every_held_out_question_and_agree_with_the_metrics(finished):
    table, result = answers_of(finished), json.loads((finished / "result.json").read_text())
    assert list(table.columns) == ANSWERS_SCHEMA.names
    asked = world().splits["dev"]
    assert len(table) == 2 * len(asked)
    for stop, epoch in (("EARLY_STOP", result["early_stop_epoch"]), ("CONVERGENCE", 4)):
        here = table[table["stop"] == stop]
        assert list(here["id"]) == [row.id for row in asked] and set(here["split"]) == {"dev"}
        assert set(here["epoch"]) == {epoch} and list(here["relation"]) == [row.relation for row in asked]
        assert here["hit"].mean() == pytest.approx(result[stop.lower()]["dev"]["em"])
    golds = {row.id: Golds(row.answers, matcher("squad")) for row in asked}
    judged = np.array([golds[row.id].match(row.answer) for row in table.itertuples()])
    np.testing.assert_array_equal(judged, table[["strict_hit", "hit"]].to_numpy())


def test_they_are_what_the_checkpoints_answer(folder, finished):
    """`slick evaluate` goes another way: it verifies, without writing the answers out."""
    config, table = config_for(folder, finished.parents[2]), answers_of(finished)
    for stop in ("EARLY_STOP", "CONVERGENCE"):
        here = table[table["stop"] == stop]
        checkpoint = finished / "checkpoints" / str(6 * here["epoch"].iloc[0])
        evaluate.run(dataclasses.replace(config, evaluate=EvaluateConfig(str(checkpoint), ("dev",))))
        (found,) = (finished.parents[2] / "evaluations").glob(f"*_{checkpoint.name}_*.parquet")
        verified = pd.read_parquet(found)
        for name in ("id", "hit", "strict_hit", "abstained"):
            assert list(verified[name]) == list(here[name]), name


def test_killed_while_they_are_written_the_file_is_the_same(folder, finished, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GreedyEvaluator, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            train.run(config_for(folder, tmp_path))
    assert not (tmp_path / RUN / "answers.parquet").exists() and not (tmp_path / RUN / "result.json").exists()
    train.run(config_for(folder, tmp_path))
    assert (tmp_path / RUN / "answers.parquet").read_bytes() == (finished / "answers.parquet").read_bytes()


def test_without_dev_there_is_convergence_alone(folder, tmp_path):
    config = config_for(folder, tmp_path, epochs=1, eval_dev_epochs="none")
    train.run(config)
    table = answers_of(tmp_path / RUN)
    assert set(table["stop"]) == {"CONVERGENCE"} and len(table) == len(world().splits["dev"])
