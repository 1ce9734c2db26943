"""`annotate.exemplars='per_question'`: every row behind exemplars of its own, with the hits of the reference."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from slick_jax.config import RescoreConfig
from slick_jax.data.corpus import P_TRUE_FORM
from slick_jax.knowledge.rescore import rescore
from tests.knowledge import exactness, kept_run
from tests.knowledge.conftest import ENDS_WITHIN
from tests.knowledge.reference import plain_p_true
from tests.knowledge.test_annotate import annotate, assert_same

CHOSEN = ("--config.annotate.exemplars=per_question", "--config.data.splits=test", "--config.data.limit=48")


@pytest.fixture(scope="module")
def run(root, small_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("per_question")
    return folder, annotate(root, folder, small_model, *CHOSEN)[0]


def test_hits_equal_the_reference(run, small_model):
    folder, table = run
    figures, differing = exactness.compare(folder, exactness.load_model(small_model), table.iloc[::4])
    print(figures)
    assert figures["draws"] == 12 * 170 and figures["hits"] > 100
    assert not differing, differing


def test_answers_are_kept_with_the_exemplars_and_judged_again(root, small_model, tmp_path):
    config, table, summary = kept_run.make(
        root, tmp_path / "kept", small_model, CHOSEN[0], "--config.data.splits=test", "--config.data.limit=2",
        "--config.annotate.n_exemplar_sets=3",
    )  # fmt: skip
    assert summary["answers"]["draws"] == 2 * 3 * 17 and summary["answers"]["hits_differ"] == 0
    kept = pq.read_table(tmp_path / "kept" / "samples" / "part-00000.parquet").to_pylist()
    rows = {row["id"]: [list(one) for one in row["exemplar_rows"]] for row in table.to_dict("records")}
    assert {row["id"]: row["exemplar_rows"] for row in kept} == rows
    assert all(row["exemplar_sets"] is None for row in kept)
    again = dataclasses.replace(config, run_dir=str(tmp_path / "again"), rescore=RescoreConfig(config.run_dir))
    rescore(again)
    stored = pd.read_parquet(tmp_path / "again" / "annotations.parquet")
    assert stored["exemplar_sets"].isna().all() and stored["category"].tolist() == table["category"].tolist()
    assert [[list(one) for one in sets] for sets in stored["exemplar_rows"]] == list(rows.values())


def test_rows_keep_what_reproduces_them_and_the_cost_is_told(root, run, small_model, tmp_path):
    folder, table = run
    exemplars = json.loads((folder / "exemplars.json").read_text())
    assert table["exemplar_sets"].isna().all()
    for row in table.to_dict("records"):
        sets = [frozenset(one) for one in row["exemplar_rows"]]
        assert len(set(sets)) == 10 and all(len(one) == 4 for one in sets)
        shots = [exemplars[row["relation"]][str(number)] for one in sets for number in one]
        assert all(len(one) == 1 and one[0]["question"] != row["question"] for one in shots)
    assert len({str(rows) for rows in table["exemplar_rows"]}) == len(table)
    shared, _ = annotate(root, tmp_path, small_model, *CHOSEN[1:])
    assert table["p_true"].notna().all() and table["p_true"].std() > 0.01
    np.testing.assert_allclose(table["p_true"], shared["p_true"], atol=1e-5)  # asked without exemplars
    costs = [json.loads((one / "summary.json").read_text())["cost"] for one in (folder, tmp_path)]
    assert costs[0]["prefix_tokens"] < 16 < costs[1]["prefix_tokens"]  # only what all prompts have in common
    assert costs[0]["tokens_forwarded"] > 2 * costs[1]["tokens_forwarded"]


def test_p_true_is_that_of_a_plain_forward_pass(run, small_model):
    model, rows, found = exactness.load_model(small_model), run[1].iloc[::6], []
    tokenizer = model.tokenizer
    for row in rows.to_dict("records"):
        asked = {"question": row["question"], "answer": row["answers"][0]}
        pair = [tokenizer.encode(P_TRUE_FORM.format(**asked, verdict=letter)) for letter in "AB"]
        found.append(plain_p_true(model.network, model.params, *pair, tokenizer.token_bytes, tokenizer.n_ids))
    np.testing.assert_allclose(rows["p_true"], found, atol=1e-5)


def test_two_processes_give_the_same_labels_and_p_true(run, start):
    processes, folder = start(CHOSEN[0])
    told = [process.communicate(timeout=ENDS_WITHIN) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    found = pq.read_table(folder / "annotations.parquet").to_pandas()
    assert found["exemplar_rows"].map(str).tolist() == run[1]["exemplar_rows"].map(str).tolist()
    assert_same(run[1], found)
