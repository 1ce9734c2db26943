"""Rows as people have them: what is left out and why, and which relations share exemplars."""

import dataclasses

import pytest

from slick_jax.checkup.intake import take_in
from slick_jax.data.examples import POOLED
from slick_jax.errors import InputError
from tests.checkup.planted import config_of, make_model, rows_of, write_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("intake") / "model")


def taken(tmp_path, model, rows, **settings):
    return take_in(config_of(tmp_path / "run", write_rows(tmp_path / "rows.jsonl", rows), model, **settings))[2]


def test_every_line_is_asked_or_left_out_with_its_place_and_reason(tmp_path, model):
    bad = [
        "{", '["no", "object"]', {"question": "", "answer": "A"}, {"question": "Q?", "answer": ""},
        {"question": "Q?", "answer": 3}, {"id": 2.5, "question": "Q?", "answer": "A"},
        {"id": "r0", "question": "Another?", "answer": "A"}, {"question": "Long?", "answer": "x" * 40},
    ]  # fmt: skip
    intake = taken(tmp_path, model, [*rows_of(20), *bad])
    assert intake.lines == 28 and len(intake.asked.rows) == 20 and intake.beyond == 0
    whys = {one.place.rsplit(":", 1)[1]: one.why for one in intake.left_out}
    expected = {
        "21": "is not JSON", "22": "expected a JSON object", "23": "question is empty", "24": "answer is empty",
        "25": "answer must be a text", "26": "id must be a text", "27": "id 'r0' is already used",
        "28": "takes 42 tokens with its end; annotate.max_answer_tokens=12",
    }  # fmt: skip
    assert whys.keys() == expected.keys()
    assert all(text in whys[line] for line, text in expected.items()), whys
    assert intake.left_out[-1].row["answer"] == "x" * 40
    assert intake.given["r3"]["page"] == 3


def test_whole_numbers_as_ids_and_parquet_columns_are_kept(tmp_path, model):
    import pandas as pd

    rows = [row | {"id": i} for i, row in enumerate(rows_of(12))]
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    intake = take_in(config_of(tmp_path / "run", tmp_path / "rows.parquet", model))[2]
    assert [row.id for row in intake.asked.rows] == [str(i) for i in range(12)]
    assert intake.given["7"]["page"] == 7


def test_bad_rows_stop_it_when_asked_to_or_when_they_are_most_of_the_file(tmp_path, model):
    rows = [*rows_of(12), {"question": "Q?"}]
    with pytest.raises(InputError, match=r"rows.jsonl:13: answer is missing"):
        taken(tmp_path, model, rows, **{"doctor.skip_bad_rows": "False"})
    with pytest.raises(InputError, match="20 of 32 rows cannot be asked"):
        taken(tmp_path, model, [*rows_of(12), *[{"text": "other data"}] * 20])
    with pytest.raises(InputError, match="holds no rows"):
        taken(tmp_path, model, [])


def test_a_limit_leaves_rows_behind_it(tmp_path, model):
    intake = taken(tmp_path, model, rows_of(30), **{"data.limit": 5})
    assert len(intake.asked.rows) == 5 and intake.beyond == 25 and intake.lines == 30


def test_small_relations_share_exemplars_and_keep_their_names(tmp_path, model):
    rows = [*rows_of(20, "book"), *(row for i in range(6) for row in rows_of(2, f"rare{i}", start=10 * i))]
    intake = taken(tmp_path, model, rows)
    assert sorted(intake.pooled) == [f"rare{i}" for i in range(6)]
    assert {row.relation for row in intake.asked.rows} == {"book", POOLED}
    assert intake.relations["rare330"] == "rare3"


def test_a_pool_that_is_still_too_small_takes_in_the_smallest_relation(tmp_path, model):
    intake = taken(tmp_path, model, [*rows_of(20, "book"), *rows_of(9, "song"), *rows_of(1, "rare")])
    assert intake.pooled == ["rare", "song"]
    assert sum(row.relation == POOLED for row in intake.asked.rows) == 10


def test_too_few_rows_for_any_exemplars_is_one_clear_error(tmp_path, model):
    with pytest.raises(InputError, match=r"too few exemplars:\n.*add development rows \(data.dev_path\)"):
        taken(tmp_path, model, rows_of(3))


def test_exemplars_of_their_own_file(tmp_path, model):
    dev = write_rows(tmp_path / "dev.jsonl", [row | {"id": f"dev{row['id']}"} for row in rows_of(8, "book", start=50)])
    rows = [*rows_of(3, "book"), *rows_of(2, "song")]
    intake = taken(tmp_path, model, rows, **{"data.dev_path": dev})
    assert intake.pooled == ["song", "book"]  # song has no rows there
    twice = write_rows(tmp_path / "dev.jsonl", rows_of(8, "book"))
    with pytest.raises(InputError, match="id 'book0' is in train and in dev"):
        taken(tmp_path, model, rows, **{"data.dev_path": twice})


def test_rows_too_long_for_the_model_go_so_that_the_others_fit(tmp_path):
    model = make_model(tmp_path / "model", positions=200)
    rows = rows_of(15)
    rows[4]["question"] = "Why " * 60 + "?"
    intake = taken(tmp_path, model, rows)
    (one,) = intake.left_out
    assert one.place.endswith(":5") and "has room for 188" in one.why and len(intake.asked.rows) == 14


@pytest.mark.parametrize("wrong", [{"data.splits": "train"}, {"annotate.answers": "none"}, {"data.share": "0.5"}])
def test_settings_that_the_doctor_cannot_use(tmp_path, wrong, capsys):
    from slick_jax.main import main
    from tests.checkup.planted import flags

    path = write_rows(tmp_path / "rows.jsonl", rows_of(12))
    assert main(["doctor", *flags(tmp_path / "run", path, **wrong)]) == 2
    assert next(iter(wrong)).split(".")[1] in capsys.readouterr().err


def test_left_out_rows_are_records(tmp_path, model):
    intake = taken(tmp_path, model, [*rows_of(12), {"question": "Q?", "mine": 1}])
    assert dataclasses.asdict(intake.left_out[0])["row"] == {"question": "Q?", "mine": 1}
