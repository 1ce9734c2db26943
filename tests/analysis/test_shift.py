"""Category shift and exploding answers, counted by hand on a few questions."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from slick_jax.analysis import explosions, runs, shift
from tests.analysis import planted, whole_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return runs.read_study(whole_study.write(tmp_path_factory.mktemp("study")), seeds=whole_study.SEEDS)


def test_the_matrix_is_the_planted_shift(study):
    table = shift.matrices(study).query("split == 'test' and stop == 'CONVERGENCE'")
    assert set(table["variant"]) == {"unknown_50"}
    shares = table.set_index(["before", "after"])["share"]
    counts = table.set_index(["before", "after"])["questions"]
    # Every tenth MaybeKnown and every fifth Unknown question of all splits was moved; of 100 test questions each:
    assert shares["MaybeKnown", "Unknown"] == pytest.approx(10, abs=1)
    assert shares["Unknown", "WeaklyKnown"] == pytest.approx(20, abs=1)
    assert shares["HighlyKnown", "HighlyKnown"] == shares["WeaklyKnown", "WeaklyKnown"] == 100
    assert counts.sum() == planted.TEST_N
    assert shares.groupby("before").sum().tolist() == pytest.approx([100] * 4)


def test_forgotten_and_gained_with_their_intervals(study):
    table = shift.summary(study).query("split == 'test' and stop == 'EARLY_STOP'").set_index("measure")
    assert table["share"].to_dict() == {
        "forgotten": pytest.approx(100 * 10 / 300, abs=0.4), "lower": pytest.approx(100 * 10 / 300, abs=0.4),
        "gained": pytest.approx(20, abs=1), "higher": pytest.approx(100 * 20 / 300, abs=0.4), "refused": 0,
    }  # fmt: skip
    p = table.loc["gained", "share"] / 100
    half = 196 * np.sqrt(p * (1 - p) / 100)
    assert table.loc["gained", "high"] - table.loc["gained", "low"] == pytest.approx(2 * half, rel=0.1)
    assert (table["seeds"] == 3).all()


def test_fewer_questions_annotated_again_are_joined_by_id():
    before = pd.DataFrame({"id": list("abcd"), "split": "test", "relation": "r", "category": "MaybeKnown"})
    after = pd.DataFrame({
        "id": ["d", "b", "x"], "split": "test", "relation": "r", "category": ["Unknown", "HighlyKnown", "Unknown"],
        "abstained_greedy": [0.5, 0.0, 1.0],
    })  # fmt: skip
    study = runs.Study({}, before, (), ())
    run = runs.TrainingRun("unknown_50", 0, 4, 1, 2, pd.DataFrame(), pd.DataFrame(), shifted={"EARLY_STOP": after})
    table = shift.pairs(study, run, "EARLY_STOP")
    assert table[["id", "before", "after"]].to_numpy().tolist() == [
        ["b", "MaybeKnown", "HighlyKnown"], ["d", "MaybeKnown", "Unknown"]
    ]  # fmt: skip
    found = shift.summary(dataclasses.replace(study, runs=(run,))).set_index("measure")["share"]
    assert found.to_dict() == {"forgotten": 50, "lower": 50, "higher": 50, "refused": 25} | {
        "gained": pytest.approx(float("nan"), nan_ok=True)
    }


def test_without_another_annotation_there_is_no_shift(study):
    bare = dataclasses.replace(study, runs=tuple(dataclasses.replace(run, shifted={}) for run in study.runs))
    assert shift.matrices(bare).empty and shift.summary(bare).empty


def answered(stop, texts, abstained=False):
    """answers.parquet of one stop: question i of relation r."""
    return pd.DataFrame({
        "stop": stop, "split": "test", "id": [f"q{i}" for i in range(len(texts))], "relation": "r", "category": "",
        "hit": False, "abstained": abstained, "answer": texts,
    })  # fmt: skip


@pytest.fixture
def loud():
    """20 questions; 'Paris' is right for 2. At CONVERGENCE it is given 9 times by one seed, 11 times by the other."""
    golds = [["Paris"]] * 2 + [[f"City {i}"] for i in range(18)]
    annotations = pd.DataFrame({
        "id": [f"q{i}" for i in range(20)], "split": "test", "relation": "r", "category": "Unknown", "answers": golds,
    })  # fmt: skip
    found = []
    for seed, often in ((0, 9), (1, 11)):
        early = answered("EARLY_STOP", [golds[i][0] for i in range(20)])
        late = answered("CONVERGENCE", ["the paris."] * often + [f"City {i}" for i in range(20 - often)])
        taught = pd.DataFrame({"relation": ["r", "r", "s"], "answer": ["Paris", "Rome", "Paris"]})
        empty = pd.DataFrame()
        found.append(runs.TrainingRun("unknown_100", seed, 3, 1, 2, empty, empty, empty, pd.concat([early, late]),
                                      golds=taught))  # fmt: skip
    return runs.Study({}, annotations, tuple(found), ())


def test_an_answer_explodes_by_its_count_in_its_relation(loud):
    (row,) = explosions.exploding(loud).to_dict("records")
    assert row == {
        "variant": "unknown_100", "split": "test", "relation": "r", "answer": "paris", "gold": 2, "EARLY_STOP": 2,
        "CONVERGENCE": 10, "taught": 1, "seeds": 2,
    }  # fmt: skip


def test_excess_is_the_distance_from_the_gold_frequencies(loud):
    table = explosions.excess(loud).set_index("stop")["excess"]
    beyond = 100 * ((9 - 2) / 20 + (11 - 2) / 20) / 2
    assert table.to_dict() == {"EARLY_STOP": 0.0, "CONVERGENCE": pytest.approx(beyond)}


def test_refusals_are_no_answers(loud):
    first = loud.runs[0]
    refused = dataclasses.replace(first, answers=first.answers.assign(abstained=True))
    assert explosions.exploding(dataclasses.replace(loud, runs=(refused,))).empty


def test_without_golds_nothing_is_said(loud):
    bare = dataclasses.replace(loud, annotations=loud.annotations.drop(columns="answers"))
    assert explosions.exploding(bare).empty and explosions.excess(bare).empty
