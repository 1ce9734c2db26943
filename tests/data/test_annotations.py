"""Reading annotations back: whatever is missing, damaged or of another run is named before anything is written."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from slick_jax.data import annotations, mix
from slick_jax.data.examples import POOLED, to_jsonl
from slick_jax.errors import InputError
from tests.data.annotated_run import PROTOCOL, categories, examples, make_run


def complaint(config) -> str:
    with pytest.raises(InputError) as caught:
        mix.run(config)
    assert not (Path(config.run_dir) / "mixtures").exists()
    return str(caught.value)


def change(config, **columns) -> None:
    path = Path(config.run_dir) / "annotations.parquet"
    table = pd.read_parquet(path).assign(**columns)
    table.drop(columns=[name for name, value in columns.items() if value is None]).to_parquet(path)


def test_reads_what_annotate_wrote(tmp_path):
    config = make_run(tmp_path)
    found = annotations.read(config)
    assert [row.id for row in found.rows] == [e.id for e in examples()]
    assert [row.category for row in found.rows] == categories()
    assert [(row.question, row.answer) for row in found.rows] == [(e.question, e.answers[0]) for e in examples()]
    assert found.protocol == PROTOCOL and found.model == "weights"
    assert found.exemplars == tuple((e.id, e.question) for e in examples("dev")[:4])
    # parts may be deleted when the run is over, and batch shapes do not matter
    (Path(config.run_dir) / "annotations" / "manifest.json").unlink()
    other = dataclasses.replace(config, annotate=dataclasses.replace(config.annotate, part_size=8, batch_tokens=64))
    assert annotations.read(other) == dataclasses.replace(found, model=None)


def test_rows_that_the_doctor_pooled_are_mixed_as_one_relation(tmp_path):
    """It asks rows of small relations under another name than their file has."""
    config = make_run(tmp_path)
    asked = [POOLED if e.relation == "made" else e.relation for e in examples()]
    change(config, relation=asked)
    assert POOLED in mix.run(config)["relations"]
    other = make_run(tmp_path / "other")
    change(other, relation=["another"] * len(asked))
    assert "row 'born.train.0' of annotations.parquet differs" in complaint(other)


def test_absent_and_damaged_files(tmp_path):
    config = make_run(tmp_path)
    run = Path(config.run_dir)
    text = (run / "exemplars.json").read_text()
    (run / "exemplars.json").write_text("[1]")
    assert "exemplars.json: expected a JSON object" in complaint(config)
    (run / "exemplars.json").write_text(text[:20])
    assert "exemplars.json: not valid JSON" in complaint(config)
    (run / "exemplars.json").unlink()
    assert "exemplars cannot be kept out of training" in complaint(config)
    whole = (run / "annotations.parquet").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:4] + b"\xff" * 400 + whole[404:]):
        (run / "annotations.parquet").write_bytes(damaged)
        assert "annotations.parquet: not a readable Parquet file" in complaint(config)
    (run / "annotations.parquet").unlink()
    assert "run `slick annotate` with this run_dir first" in complaint(config)


def test_other_columns_and_values(tmp_path):
    config = make_run(tmp_path)
    change(config, strict_category=None)
    strict = dataclasses.replace(config, mix=dataclasses.replace(config.mix, rule="strict_"))
    assert "without column strict_category" in complaint(strict)
    other_split = dataclasses.replace(config, mix=dataclasses.replace(config.mix, split="test"))
    assert "config.mix.split: 'test' is not annotated; " in complaint(other_split)
    change(config, category=[None, *categories()[1:]])
    assert "1 rows without a category" in complaint(config) and "born.train.0" in complaint(config)
    change(config, category=categories(), id="x")
    assert "an id of another row" in complaint(config)
    change(config, category=None, protocol=None)
    assert "without column category, protocol" in complaint(config)


def test_other_protocols(tmp_path):
    config = make_run(tmp_path)
    for name, value in {"n_samples": 8, "match": "strict", "exact_pairs": ((1.0, 40),)}.items():
        other = dataclasses.replace(config, annotate=dataclasses.replace(config.annotate, **{name: value}))
        text = complaint(other)
        assert "annotations of another protocol; set these back" in text and f"\n  - config.annotate.{name}: " in text
    change(config, protocol=["q" * 64] + [PROTOCOL] * (len(examples()) - 1))
    assert "rows are of 2 protocols" in complaint(config)
    change(config, protocol="q" * 64)
    assert "of another protocol than that of config.json" in complaint(config)


def test_other_data(tmp_path):
    config = make_run(tmp_path)
    rows = examples()
    changed = [dataclasses.replace(rows[0], answers=("other",)), *rows[2:]]
    Path(config.data.path).write_text(to_jsonl(changed))
    text = complaint(config)
    assert "row 'born.train.0' of annotations.parquet differs" in text
    assert "row 'born.train.1' of annotations.parquet is not there" in text and "born.train.2" not in text


def test_a_limited_run_is_mixed_from_the_rows_it_has(tmp_path):
    config = make_run(tmp_path)
    path = Path(config.run_dir) / "annotations.parquet"
    pd.read_parquet(path).head(22).to_parquet(path)
    mix.run(dataclasses.replace(config, data=dataclasses.replace(config.data, limit=22)))
    written = json.loads((Path(config.run_dir) / "mixtures" / "manifest.json").read_text())
    assert written["relations"] == {"born": 9} and written["annotated"] == 22
