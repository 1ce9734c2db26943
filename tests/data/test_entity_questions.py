"""EntityQuestions: the published counts, and the same rows from every form in which the data comes."""

import gzip
import json
import zipfile
from collections import Counter, defaultdict

import pytest

from slick_jax.data.entity_questions import preparation
from slick_jax.data.entity_questions.preparation import prepare
from slick_jax.data.entity_questions.relations import (
    IN_DISTRIBUTION,
    LEFT_OUT,
    OUT_OF_DISTRIBUTION,
    TEMPLATES,
    subject_of,
)
from slick_jax.data.entity_questions.sources import read_source
from slick_jax.errors import InputError

# Rows of the paper's Table 3.
TRAIN = {
    "P131": 7646, "P136": 7516, "P17": 7890, "P19": 7921, "P26": 7456, "P264": 7324, "P36": 6815, "P40": 6110,
    "P495": 7674, "P69": 6721, "P740": 7271, "P800": 1356,
}  # fmt: skip


def small_source() -> dict[tuple[str, str], list[dict]]:
    """{(split, relation): rows as published}: three plain rows a relation, and those to be dropped."""
    source = {}
    for split in ("train", "dev", "test"):
        for relation, (before, after) in TEMPLATES.items():
            rows = [(f"{split} {relation} {i}", [f"object {i}"]) for i in range(3)]
            rows.append((f"{split} {relation} several", ["a", "b"]))
            if split == "train":
                rows.append(("test P20 1", ["of a relation left out"]))
                rows.append(("test P127 several", ["of a test row with several answers"]))
            source[split, relation] = [{"question": f"{before}{s}{after}", "answers": a} for s, a in rows]
    return source


def write_zip(path, source) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.json", "[]")
        archive.writestr("dataset/one-off/P17.popular.test.json", "[]")
        for (split, relation), rows in source.items():
            archive.writestr(f"dataset/{split}/{relation}.{split}.json", json.dumps(rows))
    return str(path)


def write_folder(folder, source, below="") -> str:
    for (split, relation), rows in source.items():
        path = folder / below.format(split=split) / f"{relation}.{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
    return str(folder)


def write_lines(folder, source) -> str:
    lines = defaultdict(list)
    for (split, relation), rows in source.items():
        for index, row in enumerate(rows):
            subject = subject_of(relation, row["question"])
            row = {"id": f"{relation}.{split}.{index}", "relation": relation, "subject": subject} | row
            lines[split].append(json.dumps(row))
    folder.mkdir()
    for split, texts in lines.items():
        (folder / f"entityquestions.{split}.jsonl.gz").write_bytes(gzip.compress("\n".join(texts).encode()))
    return str(folder)


def complaint_about(path) -> str:
    with pytest.raises(InputError) as caught:
        prepare(str(path))
    return str(caught.value)


def test_relations_are_the_24_of_the_data_set(real_data):
    published = json.loads((real_data / "entityquestions/relation_query_templates.json").read_text())
    assert len(IN_DISTRIBUTION) == 12 and len(OUT_OF_DISTRIBUTION) == 7 and len(LEFT_OUT) == 5
    assert {relation: "[X]".join(parts) for relation, parts in TEMPLATES.items()} == {
        relation: published[relation] for relation in TEMPLATES
    }


@pytest.fixture(scope="module")
def source(real_data):
    """Its folder, and what is read there."""
    folder = str(real_data / "entityquestions")
    return folder, read_source(folder)


@pytest.fixture
def read_once(source, monkeypatch):
    """Its folder, which is not read again."""
    monkeypatch.setattr(preparation, "read_source", {source[0]: source[1]}.__getitem__)
    return source[0]


def test_published_counts(read_once):
    splits = prepare(read_once)
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 81_700, "dev": 10_461, "test": 10_481, "ood_dev": 5_847, "ood_test": 5_848,
    }  # fmt: skip
    assert Counter(row.relation for row in splits["train"]) == TRAIN
    assert {row.relation for row in splits["ood_test"]} == set(OUT_OF_DISTRIBUTION)
    assert all(row.split == name for name, rows in splits.items() for row in rows)
    assert len({row.id for rows in splits.values() for row in rows}) == sum(map(len, splits.values()))


def test_subjects_read_off_the_questions_are_the_given_ones(real_data):
    with gzip.open(real_data / "entityquestions/entityquestions.test.jsonl.gz") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == 22_075
    assert all(subject_of(row["relation"], row["question"]) == row["subject"] for row in rows)


def test_dropping_shared_objects_leaves_none(real_data, read_once):
    kept = prepare(read_once, drop_shared_objects=True)["train"]
    with gzip.open(real_data / "entityquestions/entityquestions.test.jsonl.gz") as lines:
        objects = {answer for line in lines for answer in json.loads(line)["answers"]}
    whole = prepare(read_once)["train"]
    assert kept == [row for row in whole if row.answers[0] not in objects]
    assert 0 < len(kept) < len(whole)


def test_every_form_gives_the_same_rows(tmp_path):
    source = small_source()
    splits = prepare(write_zip(tmp_path / "dataset.zip", source))
    assert prepare(write_folder(tmp_path / "flat", source)) == splits
    assert prepare(write_folder(tmp_path / "nested", source, "{split}")) == splits
    assert prepare(write_folder(tmp_path / "unpacked", source, "dataset/{split}")) == splits
    assert prepare(write_lines(tmp_path / "lines", source)) == splits
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 36, "dev": 36, "test": 36, "ood_dev": 21, "ood_test": 21,
    }  # fmt: skip
    first = splits["train"][0]
    assert (first.id, first.relation, first.subject) == ("P131.train.0", "P131", "train P131 0")
    assert (first.question, first.answers) == ("Where is train P131 0 located?", ("object 0",))
    assert not prepare(str(tmp_path / "flat"), drop_shared_objects=True)["train"]


@pytest.mark.parametrize(
    "question", ["where is it located?", "Where is  located?", "Where is it located", "What is it?"]
)
def test_questions_that_do_not_fit_their_template(tmp_path, question):
    source = small_source()
    source["dev", "P131"][2]["question"] = question
    assert "dataset/dev/P131.dev.json[2]: " in complaint_about(write_zip(tmp_path / "dataset.zip", source))


def test_incomplete_or_broken_sources(tmp_path):
    source = small_source()
    assert "neither a zip file nor a folder" in complaint_about(tmp_path / "absent.zip")
    (tmp_path / "empty").mkdir()
    assert "no file for split train" in complaint_about(tmp_path / "empty")
    short = {key: rows for key, rows in source.items() if key != ("test", "P20")}
    assert "no rows of relation P20 in test" in complaint_about(write_zip(tmp_path / "short.zip", short))

    path = write_folder(tmp_path / "broken", source)
    (tmp_path / "broken" / "P17.dev.json").write_text("[{]")
    assert "P17.dev.json: is not JSON" in complaint_about(path)
    (tmp_path / "broken" / "P17.dev.json").write_text("{}")
    assert "expected a JSON list" in complaint_about(path)
    (tmp_path / "broken" / "P17.dev.json").write_text('[{"question": "Which country is X located in?"}, 3]')
    text = complaint_about(path)
    assert "P17.dev.json[0]: answer is missing" in text and "P17.dev.json[1]: is no JSON object" in text
    write_folder(tmp_path / "broken", {("dev", "P17"): source["dev", "P17"]}, "dev")
    assert "the same relation and split as" in complaint_about(path)

    whole = (tmp_path / "short.zip").read_bytes()
    (tmp_path / "torn.zip").write_bytes(whole[:2000].replace(b"P131", b"P999") + whole[2000:])
    assert "cannot be read as zip" in complaint_about(tmp_path / "torn.zip")


def test_unknown_relation_in_json_lines(tmp_path):
    source = small_source()
    write_lines(tmp_path / "lines", source)
    row = {"id": "x", "relation": "P999", "question": "Q", "answers": ["A"]}
    (tmp_path / "lines" / "entityquestions.dev.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    assert "'P999' is no relation of EntityQuestions" in complaint_about(tmp_path / "lines")
