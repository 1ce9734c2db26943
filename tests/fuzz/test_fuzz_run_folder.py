"""Files of a run folder, changed or damaged: refused by name, or read as what they say; no flipped bit is missed."""

import dataclasses
import json
import shutil
from collections import Counter

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slick_jax.analysis import runs
from slick_jax.config import AnnotateConfig, Config
from slick_jax.data import annotations
from slick_jax.data.examples import Example
from slick_jax.files import run_folder
from slick_jax.files.hashing import digest
from slick_jax.knowledge import answers, rescore, store
from slick_jax.longform import records
from slick_jax.longform.probe import Probe
from slick_jax.longform.store import Stage
from slick_jax.training.writers import read_lines
from tests.analysis import planted
from tests.data.annotated_run import make_run
from tests.fuzz.fuzzing import attempt, changed, damaged, inputs, json_values, written


@st.composite
def tables(draw, table):
    """A table with a column left out, twice, renamed, empty, or of other values."""
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(table.column_names or [""]))
        if not name:
            break
        place = table.column_names.index(name)
        what = draw(st.sampled_from(("drop", "rename", "null", "other", "twice", "short", "text", "binary", "meta")))
        column = table.column(place)
        if what == "drop":
            table = table.remove_column(place)
        elif what in ("rename", "twice"):
            new = draw(st.sampled_from(table.column_names)) if what == "twice" else "other"
            table = table.rename_columns([new if at == place else one for at, one in enumerate(table.column_names)])
        elif what == "short":
            table = table.slice(0, draw(st.integers(0, 3)))
        elif what == "meta":
            table = table.replace_schema_metadata({b"protocol": draw(st.binary(max_size=4)), b"counts": b"{"})
        else:
            values = {"null": [None] * len(table), "text": [str(one) for one in column.to_pylist()],
                      "binary": [b"\xff"] * len(table), "other": [draw(json_values)] * len(table)}[what]  # fmt: skip
            try:
                made = pa.array(values)
            except Exception:
                continue
            table = table.set_column(place, name, made)
    return table


@st.composite
def replacements(draw, path, content):
    """(bytes, whether they must read as before or be refused) in place of a file."""
    if draw(st.integers(0, 2)) == 0:
        return draw(damaged(content)), path.suffix == ".parquet"
    if path.suffix == ".parquet":
        sink = pa.BufferOutputStream()
        try:
            pa.parquet.write_table(draw(tables(run_folder.read_parquet(path))), sink, write_page_checksum=True)
        except pa.ArrowException:
            return content, True
        return sink.getvalue().to_pybytes(), False
    if path.suffix == ".jsonl":
        lines = content.splitlines()
        place = draw(st.integers(0, len(lines) - 1))
        lines[place] = draw(changed(json.loads(lines[place])).flatmap(written))
        return b"\n".join(lines), False
    new = damaged(content) if path.suffix == ".csv" else changed(json.loads(content)).flatmap(written)
    return draw(new), False


def _again(path):
    """A Parquet file as this program writes it: with checksums."""
    run_folder.write_parquet(path, pa.parquet.read_table(path))


def _try(data, folder, names, read, same):
    """Reads the folder with one file replaced; what must read as before does, or is refused."""
    path = folder / data.draw(st.sampled_from(names))
    content = path.read_bytes()
    new, equal = data.draw(replacements(path, content))
    path.write_bytes(new)
    try:
        taken, found = attempt(read)
        if taken and equal:
            same(found)
        return taken, found
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    config = make_run(tmp_path_factory.mktemp("annotated"))
    folder = annotations.path(config).parent
    _again(folder / "annotations.parquet")
    return config, folder, annotations.read(config)


@inputs(150)
@given(data=st.data())
def test_annotations(annotated, data):
    config, folder, before = annotated
    names = ("annotations.parquet", "annotations.parquet", "exemplars.json", "config.json", "annotations/manifest.json")

    def same(found):
        assert found.rows == before.rows and found.protocol == before.protocol

    taken, found = _try(data, folder, names, lambda: annotations.read(config), same)
    if taken:
        texts = [text for row in found.rows for text in (row.id, row.relation, row.question, row.answer)]
        assert all(isinstance(text, str) and text for text in texts)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    planted.write_study(folder, percents=(0, 50), known_only=(), size=40, epochs=4)
    for path in folder.rglob("*.parquet"):
        _again(path)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return folder, names, runs.read_study(folder)


@inputs(60, 0.5)
@given(data=st.data())
def test_studies(study, data):
    folder, names, before = study

    def same(found):
        pd.testing.assert_frame_equal(found.annotations, before.annotations)
        for one, other in zip(found.runs, before.runs, strict=True):
            pd.testing.assert_frame_equal(one.fitted, other.fitted)
            pd.testing.assert_frame_equal(one.answers, other.answers)

    _try(data, folder, names, lambda: runs.read_study(folder), same)
    attempt(read_lines, folder / "train" / "unknown_0" / "seed-0" / "metrics.jsonl")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run whose answers are kept, made by hand: two rows, two sets, one sample."""
    folder = tmp_path_factory.mktemp("kept")
    settings = dataclasses.replace(AnnotateConfig(), answers="all", n_exemplar_sets=2, n_samples=1, n_exemplars=1)
    protocol = {"model": "m"}
    made = digest(protocol)
    rows, texts = [], []
    for place in range(2):
        row = dict.fromkeys(store.OUTPUT_SCHEMA.names) | {
            "id": f"r{place}", "split": "train", "relation": "all", "question": "q?", "answers": ["a"],
            "exemplar_sets": [0, 1], "greedy_hits": [True, False], "sampled_hits": [[True], [False]],
            "strict_greedy_hits": [True, False], "strict_sampled_hits": [[True], [False]], "category": "MaybeKnown",
            "strict_category": "MaybeKnown", "gold_logprob": -1.0, "protocol": made, "truncated": 0,
        }  # fmt: skip
        rows.append(row)
        texts.append({
            "id": f"r{place}", "exemplar_sets": [0, 1], "exemplar_rows": None, "greedy": ["a", "b"],
            "sampled": [["a"], ["c"]], "greedy_truncated": [False, False], "sampled_truncated": [[False], [False]],
            "protocol": made,
        })  # fmt: skip
    run_folder.write_parquet(folder / "annotations.parquet", pa.Table.from_pylist(rows, store.OUTPUT_SCHEMA))
    run_folder.write_parquet(folder / "samples" / "part-00000.parquet", pa.Table.from_pylist(texts, answers.SCHEMA))
    whole = dataclasses.asdict(dataclasses.replace(Config(), annotate=settings))
    run_folder.write_json(folder / "config.json", {"config": whole, "protocol": made})
    run_folder.write_json(folder / "annotations" / "manifest.json", {"protocol": protocol, "hash": made})
    run_folder.write_json(folder / "exemplars.json", {})
    config = dataclasses.replace(Config(), rescore=dataclasses.replace(Config().rescore, source=str(folder)))
    return folder, dataclasses.replace(config, run_dir=str(folder.parent / "judged"))


@inputs(60, 0.4)
@given(data=st.data())
def test_kept_answers(kept, data):
    folder, config = kept
    names = ("samples/part-00000.parquet", "samples/part-00000.parquet", "annotations.parquet", "config.json")

    def read():
        shutil.rmtree(config.run_dir, ignore_errors=True)
        return rescore.rescore(config)[0]

    def same(found):
        assert found["category"].tolist() == ["MaybeKnown"] * 2 and found["p_correct_greedy"].tolist() == [0.5] * 2

    taken, found = _try(data, folder, names, read, same)
    if taken:
        assert set(found["category"]) <= {"HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown"}


@inputs(60, 0.4)
@given(data=st.data())
def test_parts_and_stages(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("parts")
    parts = store.Parts(folder / "annotations", {"model": "m"}, [Example("a", "q?", ("b",))], 1)
    parts.write(0, [{"id": "a"}], Counter(tokens_seen=3))
    stage = Stage(folder, "own", "texts", records.TEXTS, {"seed": 0})
    text = {"id": "t", "entity": "e", "source": "gold", "sample": 0, "text": "Words.", "n_tokens": 2}
    text |= {"truncated": False}
    stage.write([text], {"texts": 1})
    before = parts.read(0)

    def same_part(found):
        assert found[0].equals(before[0]) and found[1] == before[1]

    def same_stage(found):
        assert found == ([text], Counter(texts=1))

    _try(data, folder, ("annotations/part-00000.parquet",), lambda: parts.read(0), same_part)
    _try(data, folder, ("longform/own/texts.parquet",), lambda: _stage(folder).read(), same_stage)
    _try(data, folder, ("annotations/manifest.json",), lambda: _parts(folder), lambda found: None)
    shutil.rmtree(folder)


def _stage(folder):
    return Stage(folder, "own", "texts", records.TEXTS, {"seed": 0})


def _parts(folder):
    return store.Parts(folder / "annotations", {"model": "m"}, [Example("a", "q?", ("b",))], 1)


@inputs(40, 0.3)
@given(content=st.data())
def test_probes(tmp_path_factory, content):
    import numpy as np

    path = tmp_path_factory.getbasetemp() / "probe.safetensors"
    Probe(1, np.zeros(3), np.ones(3), np.arange(3.0), 0.5, 1.0, (0.5, 0.75)).write(path)
    path.write_bytes(content.draw(damaged(path.read_bytes())))
    attempt(Probe.read, path)
