"""Reading users' rows: what is accepted, and what every kind of bad row is told."""

import gzip
import json
from collections import Counter

import pandas as pd
import pytest

from slick_jax.config import Config, DataConfig, WorldConfig
from slick_jax.data.examples import MAX_PROBLEMS, Example, chosen_splits, load_splits, read_rows
from slick_jax.errors import InputError
from slick_jax.knowledge.preparation import ask

ROW = {"question": "Where is X?", "answer": "There"}


def write(path, rows) -> str:
    text = "".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def complaint_about(path: str) -> str:
    with pytest.raises(InputError) as caught:
        read_rows(path, "train")
    return str(caught.value)


def test_all_fields_and_defaults(tmp_path):
    rows = [
        ROW,
        "\n",
        {"id": 7, "question": " Wo? ", "answers": ["Köln", " Cologne "], "relation": "city", "subject": "Dom", "x": 1},
        {"question": "Q", "answer": "A", "answers": None, "id": None, "subject": None, "relation": None},
    ]
    assert read_rows(write(tmp_path / "my.rows.jsonl", rows), "dev") == [
        Example("my.rows.0", "Where is X?", ("There",), "all", None, "dev"),
        Example("7", "Wo?", ("Köln", "Cologne"), "city", "Dom", "dev"),
        Example("my.rows.3", "Q", ("A",), "all", None, "dev"),
    ]


def test_formats_agree(tmp_path):
    rows = [ROW | {"id": f"r{i}", "subject": None if i % 2 else "é"} for i in range(5)]
    expected = read_rows(write(tmp_path / "a.jsonl", rows), "train")
    assert read_rows(write(tmp_path / "a.jsonl.gz", rows), "train") == expected
    pd.DataFrame(rows).assign(extra=1.5).to_parquet(tmp_path / "a.parquet")
    assert read_rows(f"{tmp_path}/a.parquet", "train") == expected
    pd.DataFrame([{"question": "Q", "answers": ["a", "b"]}]).to_parquet(tmp_path / "b.parquet")
    assert read_rows(f"{tmp_path}/b.parquet", "train")[0].answers == ("a", "b")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("[1]\n", "expected a JSON object"),
        ('"text"\n', "expected a JSON object"),
        ("{'question': 1}\n", "is not JSON"),
        ("[" * 100_000 + "\n", "is not JSON"),
        ({"answer": "A"}, "question is missing"),
        ({"question": "Q"}, "answer is missing"),
        (ROW | {"question": "\t"}, "question is empty"),
        (ROW | {"question": 1}, "question must be a text, found 1"),
        (ROW | {"answers": ["A"]}, "has both answer and answers, and answer is not the first"),
        ({"question": "Q", "answers": []}, "at least one text"),
        ({"question": "Q", "answers": "A"}, "for one answer use `answer`"),
        ({"question": "Q", "answers": ["A", " "]}, "answers[1] is empty"),
        ({"question": "Q", "answers": ["A", None]}, "answers[1] is missing"),
        (ROW | {"answer": "a\nb"}, "holds a line break"),
        (ROW | {"relation": 3}, "relation must be a text"),
        (ROW | {"subject": ""}, "subject is empty"),
        (ROW | {"id": 1.5}, "id must be a text or a whole number"),
        (ROW | {"id": True}, "id must be a text or a whole number"),
        ('{"question": "Q", "answer": "\\ud800"}\n', "half a surrogate pair"),
    ],
)
def test_bad_rows(tmp_path, row, complaint):
    text = complaint_about(write(tmp_path / "rows.jsonl", [ROW, row]))
    assert f"{tmp_path}/rows.jsonl:2: " in text
    assert complaint in text


def test_bad_bytes(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'{"question": "Q", "answer": "\xff"}\n')
    assert "rows.jsonl:1: is not JSON" in complaint_about(f"{tmp_path}/rows.jsonl")


def test_problems_are_collected_and_counted(tmp_path):
    text = complaint_about(write(tmp_path / "rows.jsonl", ["{\n"] * 25))
    assert text.count("is not JSON") == MAX_PROBLEMS
    assert "and 5 more bad rows" in text


def test_unreadable_files(tmp_path):
    assert "cannot be read" in complaint_about(f"{tmp_path}/absent.jsonl")
    assert "cannot be read" in complaint_about(str(tmp_path))
    assert "holds no rows" in complaint_about(write(tmp_path / "empty.jsonl", ["\n"]))
    for name in ("torn.jsonl.gz", "torn.parquet"):
        whole = gzip.compress(json.dumps(ROW).encode() * 100)
        (tmp_path / name).write_bytes(whole[:40])
        assert "cannot be read" in complaint_about(f"{tmp_path}/{name}")


def test_ids_must_differ_across_splits(tmp_path):
    train = write(tmp_path / "a.jsonl", [ROW | {"id": "x"}])
    dev = write(tmp_path / "b.jsonl", [ROW | {"id": "x"}])
    with pytest.raises(InputError, match="id 'x' is in train and in dev"):
        load_splits(DataConfig(path=train, dev_path=dev))
    (tmp_path / "b").mkdir()
    files = [write(folder / "rows.jsonl", [ROW]) for folder in (tmp_path, tmp_path / "b")]
    with pytest.raises(InputError, match=r"(?s)rename one of two files .*id 'rows\.0' is in train and in dev"):
        load_splits(DataConfig(path=files[0], dev_path=files[1]))


def test_users_rows_have_a_split_for_every_file(tmp_path):
    files = {name: write(tmp_path / f"{name}.jsonl", [ROW]) for name in ("train", "dev", "test")}
    found = load_splits(DataConfig(path=files["train"], dev_path=files["dev"], test_path=files["test"]))
    assert {name: [(row.id, row.split) for row in rows] for name, rows in found.items()} == {
        name: [(f"{name}.0", name)] for name in ("train", "dev", "test")
    }
    assert list(load_splits(DataConfig(path=files["train"], test_path=files["test"]))) == ["train", "test"]


def test_limit_cuts_what_is_asked_and_spares_the_exemplar_pools():
    world = WorldConfig(relations=2, facts_per_relation=60, ood_relations=1, ood_facts_per_relation=30)
    whole = ask(Config(data=DataConfig(kind="world", world=world)))
    cut = ask(Config(data=DataConfig(kind="world", world=world, limit=3)))
    assert cut.rows == [row for name in ("train", "test", "ood_test") for row in whole.splits[name][:3]]
    for relation, sets in cut.sets.items():
        assert sets.pool == whole.sets[relation].pool


def test_a_share_of_every_relation_is_spread_evenly_and_leaves_pools_a_hundred_rows():
    world = WorldConfig(relations=2, facts_per_relation=800, ood_relations=1, ood_facts_per_relation=90)
    whole = load_splits(DataConfig(kind="world", world=world))
    cut = load_splits(DataConfig(kind="world", world=world, share=0.1))
    sizes = {name: Counter(row.relation for row in rows) for name, rows in cut.items()}
    full = {name: Counter(row.relation for row in rows) for name, rows in whole.items()}
    for name in ("train", "test", "ood_test"):
        assert sizes[name] == {relation: round(0.1 * number) for relation, number in full[name].items()}
    assert set(sizes["dev"].values()) == {100} and sizes["ood_dev"] == full["ood_dev"]
    for name, rows in cut.items():
        places = [whole[name].index(row) for row in rows]
        assert places == sorted(places)
    first = [whole["train"].index(row) for row in cut["train"]][: sizes["train"].most_common()[-1][1]]
    assert {after - before for before, after in zip(first, first[1:], strict=False)} <= {9, 10, 11}


def test_chosen_splits():
    present = ["train", "dev", "test"]
    assert chosen_splits(DataConfig(), present) == ["train", "test"]
    assert chosen_splits(DataConfig(splits=("dev", "train")), present) == ["train", "dev"]
    with pytest.raises(InputError, match="no split ood_test; choose from train, dev, test"):
        chosen_splits(DataConfig(splits=("ood_test",)), present)
