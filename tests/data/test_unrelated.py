"""Rows to replay: both forms, an order of the seed, nothing held out, bad rows told together."""

import json

import pytest

from slick_jax.data.mixtures import Unrelated
from slick_jax.data.unrelated import read_unrelated
from slick_jax.errors import InputError


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_both_forms_in_an_order_of_the_seed(tmp_path):
    rows = [{"text": f"Text {i}."} for i in range(20)] + [{"id": 7, "prompt": "Say b\n", "completion": "b\nb"}]
    path = write(tmp_path / "more.jsonl", rows)
    found, n_held = read_unrelated(path, 0)
    assert n_held == 0 and len(found) == 21
    assert Unrelated("replay.7", "Say b\n", "b\nb") in found and Unrelated("replay.more.3", "", "Text 3.") in found
    assert read_unrelated(path, 0)[0] == found != read_unrelated(path, 1)[0]
    kept, _ = read_unrelated(write(tmp_path / "more.jsonl", rows[5:]), 0)
    assert {row.completion for row in kept} == {row.completion for row in found} - {f"Text {i}." for i in range(5)}


def test_rows_with_a_held_out_question_are_left_out(tmp_path):
    rows = [{"text": "Before\nwho IS  a?\nBo"}, {"prompt": "Who is a?", "completion": "Bo"}, {"text": "Who is a? no"}]
    found, n_held = read_unrelated(write(tmp_path / "more.jsonl", rows), 0, {"who is a?"})
    assert n_held == 2 and [row.completion for row in found] == ["Who is a? no"]


def test_bad_rows_are_told_together(tmp_path):
    rows = [{"text": ""}, {"prompt": "a"}, {"text": "a", "prompt": "b", "completion": "c"}, {"id": 1, "text": "a"},
            {"id": "1", "text": "b"}, {"id": 2.5, "text": "a"}, {"id": "\ud800", "text": "x"},
            {"id": " ", "text": "x"}]  # fmt: skip
    with pytest.raises(InputError) as caught:
        read_unrelated(write(tmp_path / "more.jsonl", rows), 0)
    for line in (
        "more.jsonl:1: text is empty", "more.jsonl:2: completion is missing", "more.jsonl:3: has text besides",
        "more.jsonl:5: id 'replay.1' is already used" , "more.jsonl:6: id must be a text",
        "more.jsonl:7: id '\\ud800' holds half a surrogate pair", "more.jsonl:8: id is empty",
    ):  # fmt: skip
        assert line in str(caught.value)
    with pytest.raises(InputError, match="mix.replay_path: 'nowhere' is no file"):
        read_unrelated("nowhere", 0)
