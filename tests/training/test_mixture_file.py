"""Mixture files: what is accepted, what bad rows are told."""

import dataclasses
import gzip

import pandas as pd
import pytest

from slick_jax.data.tfds_rows import write_tfds
from slick_jax.errors import InputError
from slick_jax.training.mixture_file import dealt, endings, read_mixture
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


def test_endings_roles_and_repeats(tmp_path):
    given = mixture_rows(4)
    given[0] |= {"completion": given[0]["answer"] + " I am sure.", "ending": " I am sure."}
    given[1] |= {"role": "tail"}
    given[2] |= {"times": 3}
    given[3] = {"id": "r", "prompt": "", "completion": "Some text.", "answer": "", "relation": "", "role": "replay"}
    found = read_mixture(write_mixture(tmp_path, given))
    assert (found[0].answer, found[0].ending, endings(found)) == (given[0]["answer"], " I am sure.", (" I am sure.",))
    assert dealt(found) == ([0, 2, 2, 2, 3, 1], 1)
    assert (found[3].prompt, found[3].answer, found[3].category, found[3].role) == ("", "", "", "replay")
    assert read_mixture(write_mixture(tmp_path, [given[0] | {"answer": None}]))[0].answer == given[0]["answer"]
    plain = read_mixture(write_mixture(tmp_path))
    assert dealt(plain) == (list(range(len(plain))), 0) and plain[0].content == [*dataclasses.astuple(plain[0])[:6]]


def test_what_is_wrong_with_endings_roles_and_repeats_is_told(tmp_path):
    rows = mixture_rows(6)
    wrong = [{"role": "head"}, {"times": 0}, {"times": True}, {"ending": " Sure."}, {"ending": 3}, {"prompt": ""}]
    path = write_mixture(tmp_path, [row | one for row, one in zip(rows, wrong, strict=True)])
    with pytest.raises(InputError) as caught:
        read_mixture(path)
    for line in (
        "mixed.jsonl:1: role 'head' is unknown; allowed: tail, replay", "mixed.jsonl:2: times must be a whole number",
        "mixed.jsonl:3: times must be", "mixed.jsonl:4: completion", "mixed.jsonl:5: ending must be a text",
        "mixed.jsonl:6: prompt is empty",
    ):  # fmt: skip
        assert line in str(caught.value)
    path = write_mixture(tmp_path, [{"completion": "Some text.", "role": "replay"}])
    with pytest.raises(InputError, match="the mixture is empty"):
        read_mixture(path)
    rows = mixture_rows(9)
    for place, row in enumerate(rows):
        row |= {"ending": f" {place}", "completion": f"{row['answer']} {place}"}
    with pytest.raises(InputError, match="9 different endings, and 8 at most"):
        read_mixture(write_mixture(tmp_path, rows))
