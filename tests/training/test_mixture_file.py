"""Mixture files: what is accepted, what bad rows are told."""

import dataclasses
import gzip

import pandas as pd
import pytest

from slick_jax.data.tfds_rows import write_tfds
from slick_jax.errors import InputError
from slick_jax.training.mixture_file import read_mixture
from tests.training.fine_tuning import mixture_rows, world, write_mixture


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return read_mixture(write_mixture(tmp_path_factory.mktemp("mixture")))


def test_jsonl_and_parquet_are_read_alike(tmp_path, rows):
    pd.DataFrame(mixture_rows()).to_parquet(tmp_path / "mixed.parquet")
    assert read_mixture(tmp_path / "mixed.parquet") == rows
    assert [(row.id, row.answer, row.category) for row in rows[:2]] == [
        (found["id"], found["answer"], found["category"]) for found in mixture_rows(2)
    ]


def test_a_tfds_data_set_is_trained_on_as_it_is(tmp_path, rows):
    folder = write_tfds({"train": world().splits["train"][: len(rows)], "dev": world().splits["dev"]}, tmp_path)
    found = read_mixture(folder)
    assert [dataclasses.replace(row, category="") for row in rows] == found
    with pytest.raises(InputError, match="no split 'train'; this data set has dev"):
        read_mixture(write_tfds({"dev": world().splits["dev"]}, tmp_path / "other"))


def test_compressed_files_and_files_that_are_no_text(tmp_path, rows):
    text = write_mixture(tmp_path).read_bytes()
    (tmp_path / "mixed.jsonl.gz").write_bytes(gzip.compress(text))
    assert read_mixture(tmp_path / "mixed.jsonl.gz") == rows
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "é", "completion": "b"}'.encode("latin-1"))
    with pytest.raises(InputError, match="latin.jsonl:1: is not JSON"):
        read_mixture(tmp_path / "latin.jsonl")


def test_prompt_and_completion_are_enough(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "Say it:\\n", "completion": " yes"}\n\n{"prompt": "a", "completion": "b", "id": 7}\n')
    first, second = read_mixture(path)
    assert (first.id, first.answer, first.completion, first.relation, first.category) == (
        "own.0",
        "yes",
        " yes",
        "all",
        "",
    )
    assert second.id == "7"


def test_bad_rows_are_listed_together(tmp_path):
    path = tmp_path / "bad.jsonl"
    lines = [
        '{"prompt": "a"}',
        "{",
        '"text"',
        '{"prompt": 3, "completion": "b"}',
        '{"prompt": "a", "completion": "b", "id": 1}',
        "",
        '{"prompt": "a", "completion": "b\\nc"}',
        '{"prompt": "a", "completion": "b", "category": "Knwon"}',
        '{"prompt": "a", "completion": "b\\ud800"}',
    ]
    path.write_text("\n".join([*lines, lines[4]]))
    with pytest.raises(InputError) as caught:
        read_mixture(path)
    for expected in (
        "bad.jsonl:1: completion is missing", "bad.jsonl:2: is not JSON", "bad.jsonl:4: prompt must be a text",
        "bad.jsonl:7: answer 'b\\nc' holds a line break", "bad.jsonl:8: category 'Knwon' is unknown; allowed: High",
        "bad.jsonl:9: completion 'b\\ud800' holds half a surrogate", "bad.jsonl:10: id '1' is already used in line 5",
    ):  # fmt: skip
        assert expected in str(caught.value)
    path.write_text("\n")
    with pytest.raises(InputError, match="the mixture is empty"):
        read_mixture(path)
