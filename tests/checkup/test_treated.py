"""The treated data sets, read back by the library that trainers read them with."""

import json
import math
from collections import Counter

import datasets
import pytest

from slick_jax.checkup import treated
from slick_jax.config import DataConfig
from slick_jax.data.examples import load_splits
from slick_jax.training.mixture_file import read_mixture
from tests.checkup.planted import planted, planted_rows

COUNTS = {"HighlyKnown": 20, "MaybeKnown": 10, "WeaklyKnown": 5, "Unknown": 15}
ROWS = {"all": 50, "without_unknown": 35, "dropped": 15, "maybe_weighted": 35, "maybe_resampled": 35, "idk": 50}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("treated")
    found, config = planted(folder, planted_rows(COUNTS))
    sets = treated.treatments(found, config)
    treated.write(folder / "data", sets)
    return folder, sets


@pytest.fixture(scope="module")
def load(made, tmp_path_factory):
    def call(name, kind="json"):
        file = made[0] / "data" / f"{name}.{'jsonl' if kind == 'json' else kind}"
        cache = tmp_path_factory.mktemp("cache")
        return datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=str(cache))

    return call


@pytest.mark.parametrize("name", ROWS)
def test_datasets_reads_both_files_and_they_are_equal(load, name):
    lines, table = load(name), load(name, "parquet")
    assert len(lines) == len(table) == ROWS[name]
    assert lines.column_names == table.column_names
    assert lines.to_list() == table.to_list()


def test_rows_are_taught_as_prompt_and_completion_and_as_a_chat(load):
    row = load("all")[0]
    assert row["prompt"] == "Answer the following question.\nWho wrote all HighlyKnown 0?\n"
    assert row["completion"] == row["answer"] == "HighlyKnown 0"
    assert row["messages"] == [
        {"role": "user", "content": "Who wrote all HighlyKnown 0?"}, {"role": "assistant", "content": "HighlyKnown 0"},
    ]  # fmt: skip
    assert row["category"] == "HighlyKnown" and row["p_correct_greedy"] == 1.0 and row["page"] == 1
    assert row["certainty"] == pytest.approx(0.7)


def test_all_rows_can_be_read_as_data_again(made):
    rows = load_splits(DataConfig(kind="rows", path=str(made[0] / "data" / "all.jsonl")))["train"]
    assert len(rows) == ROWS["all"] and rows[0].answers == ("HighlyKnown 0",)


def test_unknown_rows_are_dropped_or_relabelled(load):
    whole, known, dropped, idk = load("all"), load("without_unknown"), load("dropped"), load("idk")
    assert dropped["id"] == [f"all.Unknown.{i}" for i in range(15)]
    assert set(whole["id"]) - set(known["id"]) == set(dropped["id"])
    assert whole["id"] == idk["id"]
    for row in idk:
        unknown = row["category"] == "Unknown"
        assert (row["completion"] == "I don't know") == unknown == (row["messages"][1]["content"] == "I don't know")
        assert row["answers"] == [row["id"].removeprefix("all.").replace(".", " ")]  # the gold answers stay


def test_weights_and_the_rows_drawn_by_them(load):
    assert Counter((row["category"], row["weight"]) for row in load("maybe_weighted")) == {
        ("HighlyKnown", 1.0): 20, ("MaybeKnown", 3.0): 10, ("WeaklyKnown", 1.0): 5,
    }  # fmt: skip
    drawn = load("maybe_resampled")
    assert "weight" not in drawn.column_names  # it is in the draw
    counts = Counter(drawn["category"])
    for name, share in {"MaybeKnown": 30 / 55, "HighlyKnown": 20 / 55}.items():
        assert abs(counts[name] - 35 * share) < 3
    copies = Counter(row["id"].split("#")[0] for row in drawn)
    for row in load("maybe_weighted"):
        expected = 35 * row["weight"] / 55
        assert math.floor(expected) <= copies[row["id"]] <= math.ceil(expected)
    assert len(set(drawn["id"])) == 35


@pytest.mark.parametrize("name", ROWS)
def test_slick_train_takes_them_as_mixtures(made, name):
    rows = read_mixture(made[0] / "data" / f"{name}.jsonl")
    assert len(rows) == ROWS[name] and {row.category for row in rows} <= set(COUNTS)


def test_a_data_set_without_rows_has_no_files(made, tmp_path):
    found, config = planted(tmp_path, planted_rows({"Unknown": 5}))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "without_unknown.jsonl").write_text("of an earlier run")
    treated.write(tmp_path / "data", treated.treatments(found, config))
    assert sorted(file.name for file in (tmp_path / "data").iterdir()) == [
        "all.jsonl", "all.parquet", "dropped.jsonl", "dropped.parquet", "idk.jsonl", "idk.parquet",
    ]  # fmt: skip


def test_the_refusal_is_a_setting(tmp_path):
    found, config = planted(tmp_path, planted_rows({"Unknown": 5}), **{"mix.idk_text": "No idea."})
    assert {row["completion"] for row in treated.treatments(found, config)["idk"].rows} == {"No idea."}


def test_columns_of_the_user_come_in_one_kind_each():
    own = treated.own_columns(
        [
            {"question": "Q", "answer": "A", "page": 1, "score": 1, "tags": ["a"], "meta": {"x": 1}, "mixed": "a"},
            {"question": "Q", "answer": "A", "page": None, "score": 0.5, "mixed": 2, "role": "r", "bad": "\ud800"},
            {"id": "x", "score": None, "tags": [], "category": "novel", "nan": float("nan")},
        ]
    )
    assert [row["page"] for row in own] == [1, None, None]
    assert [row["score"] for row in own] == [1.0, 0.5, None]
    assert [row["tags"] for row in own] == [["a"], None, []]
    assert [row["meta"] for row in own] == ['{"x": 1}', None, None]
    assert [row["mixed"] for row in own] == ['"a"', "2", None]
    assert [row["source_role"] for row in own] == [None, "r", None]
    assert own[2]["source_category"] == "novel" and own[1]["bad"] == "?" and own[2]["nan"] == "NaN"
    json.dumps(own, ensure_ascii=False).encode()
    assert treated.own_columns([{"question": "Q", "answer": "A"}]) == [{}]
