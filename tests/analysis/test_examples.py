"""The table of examples: what is told of each question, how it is packed, and its cap."""

import base64
import dataclasses
import gzip
import json

import numpy as np
import pandas as pd
import pytest

from slick_jax.analysis import examples, runs
from slick_jax.data.annotations import kept_answers
from slick_jax.errors import InputError
from tests.analysis import planted, planted_answers


@pytest.fixture
def study(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(), epochs=4)
    return runs.read_study(tmp_path)


def unpacked(packed):
    return json.loads(gzip.decompress(base64.b64decode(packed.packed)))


def test_a_row_tells_hits_certainty_and_the_answers_after_fine_tuning(study):
    made = examples.table(study, None).set_index("id")
    asked = study.annotations.set_index("id")
    assert list(made.index) == list(asked.index)
    for name, column in (("HighlyKnown", "p_highly"), ("Unknown", "p_unknown")):
        here = made["category"] == name
        assert made.loc[here, "certainty (%)"].tolist() == pytest.approx((100 * asked.loc[here, column]).tolist())
    assert made["samples right (%)"].tolist() == pytest.approx((100 * asked["p_correct_sampled"]).tolist())
    run = next(run for run in study.runs if run.variant == "unknown_50")
    rows = run.answers[(run.answers["stop"] == "CONVERGENCE") & (run.answers["split"] == "test")].set_index("id")
    told = made.loc[rows.index, "after unknown_50, CONVERGENCE"]
    assert told.tolist() == [[(row.answer, 0, row.hit)] for row in rows.itertuples()]
    assert made.loc[made["split"] == "train", "after unknown_50, CONVERGENCE"].isna().all()


def test_greedy_answers_are_counted_and_judged():
    texts = ["Rome", "Paris", "Rome", "Rome", "Rome"]
    assert examples.counted(texts, [True, False, True, True, True]) == [("Rome", 4, True), ("Paris", 1, False)]
    assert examples.counted(texts, None) == [("Rome", 4, None), ("Paris", 1, None)]
    assert examples.counted(None, None) is None


def test_kept_answers_are_read_by_id(study, tmp_path):
    assert kept_answers(tmp_path, ("greedy",)) is None
    (tmp_path / "samples").mkdir()
    first = study.annotations["id"].iloc[0]
    part = tmp_path / "samples/part-0.parquet"
    pd.DataFrame({"id": [first], "greedy": [["a"] * planted_answers.SETS]}).to_parquet(part)
    made = examples.table(study, kept_answers(tmp_path, ("greedy",)))
    hits = study.annotations["greedy_hits"].iloc[0]
    assert sum(times for _, times, _ in made[examples.ANSWERS].iloc[0]) == len(hits)
    assert {right for _, _, right in made[examples.ANSWERS].iloc[0]} == {bool(hit) for hit in hits}
    assert made[examples.ANSWERS].iloc[1] is None
    pd.DataFrame({"x": [1]}).to_parquet(part)
    with pytest.raises(InputError, match="annotate again"):
        kept_answers(tmp_path, ("greedy",))


def test_training_rows_say_when_they_were_learned(study):
    run = next(run for run in study.runs if run.variant == "unknown_50")
    name = study.annotations["id"].iloc[0]
    rows = {"id": name, "category": "Unknown", "epoch": [1, 2, 3, 4], "fitted": [False, True, False, True]}
    followed = dataclasses.replace(run, examples=pd.DataFrame(rows))
    made = examples.table(dataclasses.replace(study, runs=(followed,)), None).set_index("id")[examples.FITTED]
    assert made[name] == 2 and made.drop(name).isna().all()


def test_the_pack_holds_every_cell_and_is_the_same_twice(study):
    made = examples.table(study, None)
    packed = examples.pack(made, len(made))
    assert examples.pack(made, len(made)) == packed
    found = unpacked(packed)
    assert [column["head"] for column in found["columns"]] == list(made)
    assert len(found["rows"]) == packed.shown == packed.total == len(made)
    kinds = {column["head"]: column["kind"] for column in found["columns"]}
    assert kinds["category"] == "category" and kinds["gold"] == "answers" and kinds["P(True) (%)"] == "number"
    assert packed.choices["category"] == list(planted.CATEGORIES) and packed.choices["relation"] == ["P17", "P19"]


def test_long_texts_are_cut_on_the_page_and_whole_in_the_csv(study):
    text = "x" * 5000
    study.annotations.loc[0, "question"] = text
    made = examples.table(study, None)
    place = list(made).index("question")
    assert len(unpacked(examples.pack(made, 1))["rows"][0][place]) == examples.LONGEST
    assert examples.as_text(made)["question"].iloc[0] == text


def test_of_more_rows_than_the_cap_an_even_share_is_shown(study, monkeypatch):
    monkeypatch.setattr(examples, "MOST", 170)  # of 680
    made = examples.table(study, None)
    assert len(made) == 170 and made["id"].is_unique
    assert examples.table(study, None)["id"].equals(made["id"])
    order = pd.Index(study.annotations["id"]).get_indexer(made["id"])
    assert (np.diff(order) > 0).all()
    assert 50 < (made["split"] == "test").sum() < 150  # 100 expected
