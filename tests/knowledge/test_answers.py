"""Kept answers: the texts of the reference process, in agreement with the verified hits, resumable."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from etils import epath

from slick_jax.config import BESIDE_LABELS, SHAPES
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge import pools, preparation
from slick_jax.knowledge.answers import Answers, compare
from slick_jax.knowledge.engine import Engine
from slick_jax.knowledge.forward import Device
from slick_jax.knowledge.match import Golds, matcher
from tests.knowledge import exactness, kept_run
from tests.knowledge.reference import judge_text
from tests.knowledge.test_annotate import found_in

CODE = re.compile("`([^`]+)`")


@pytest.fixture(scope="module")
def run(root, small_model, tmp_path_factory):
    return kept_run.make(root, tmp_path_factory.mktemp("kept"), small_model)


def answers_of(folder):
    """Kept answers by id."""
    tables = [pq.read_table(path) for path in sorted((folder / "samples").glob("part-*.parquet"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def test_answers_are_the_texts_of_the_reference(run, small_model):
    config, table, _ = run
    folder = epath.Path(config.run_dir)
    kept, model = answers_of(folder), exactness.load_model(small_model)
    spelled, stops = model.tokenizer.token_bytes, model.tokenizer.is_stop
    exemplars = json.loads((folder / "exemplars.json").read_text())
    assert list(kept) and set(kept) == set(table["id"])
    for row in table.iloc[[1, 12]].to_dict("records"):
        draws = exactness.reference_draws(model, exactness.prompts_of(row, exemplars), row["id"])
        found = kept[row["id"]]
        assert found["exemplar_sets"] == list(row["exemplar_sets"]) and found["protocol"] == row["protocol"]
        texts = [[greedy, *samples] for greedy, samples in zip(found["greedy"], found["sampled"], strict=True)]
        expected = [[text_of(draw.path, spelled) for draw in slot] for slot in draws]
        assert texts == expected
        cut = [found["greedy_truncated"][0], *found["sampled_truncated"][0]]
        assert cut == [judge_text(draw.path, spelled, stops, row["answers"], 32).truncated for draw in draws[0]]


def test_p_true_is_measured_with_the_labels_and_is_no_part_of_their_protocol(root, run, small_model):
    config, _, _ = run
    with pytest.raises(InputError, match="begun with another annotate.p_true"):
        kept_run.make(root, config.run_dir, small_model, "--config.annotate.p_true=False")
    tokenizer = Tokenizer.from_folder(small_model)
    asked = preparation.ask(config)

    def protocol(dtype, p_true):
        changed = kept_run.with_annotate(config, p_true=p_true)
        changed = dataclasses.replace(changed, model=dataclasses.replace(config.model, dtype=dtype))
        prepared = preparation.prepare(changed, asked, tokenizer, None)
        return preparation.protocol_fields(changed, prepared, "model", "tokenizer", {})

    assert protocol("float32", True) == protocol("float32", False)
    assert protocol("bfloat16", True) != protocol("bfloat16", False), "other shapes are computed"


def text_of(path, spelled):
    data = b"".join(spelled[token] for token in path)
    return data.split(b"\n")[0].decode("utf-8", "replace")


def test_hits_by_the_texts_are_the_verified_ones_and_truncations_exact(run):
    config, table, summary = run
    kept = answers_of(epath.Path(config.run_dir))
    assert summary["answers"] == {
        "kept": "all", "draws": 20 * 170, "truncated": int(table["truncated"].sum()), "hits_differ": 0,
    }  # fmt: skip
    assert summary["truncated_draws"] == summary["answers"]["truncated"]
    assert sum(table["greedy_hits"].map(sum)) > 10
    assert summary["speed"]["questions"] == 20 and summary["speed"]["seconds"]["answers"] > 0
    cut = {name: sum(row["greedy_truncated"]) + sum(map(sum, row["sampled_truncated"])) for name, row in kept.items()}
    assert table["truncated"].tolist() == [cut[name] for name in table["id"]]
    stored = pd.read_parquet(f"{config.run_dir}/annotations.parquet")
    assert stored["truncated"].tolist() == table["truncated"].tolist()


def test_the_page_on_the_files_names_every_key_of_the_summary(root, run):
    page = (root / "docs" / "annotations.md").read_text()
    section = page.split("## summary.json")[1].split("## saturation.csv")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    told = [name for cell in cells for name in CODE.findall(cell)]
    found = []
    for name, value in json.loads((epath.Path(run[0].run_dir) / "summary.json").read_text()).items():
        found += [f"{name}.{key}" for key in value] if name in ("answers", "cost", "speed") else [name]
    assert sorted(told) == sorted([*found, "rescored", "match"])
    left_out = page.split("## The protocol hash")[1]
    assert set(BESIDE_LABELS + SHAPES) <= set(CODE.findall(left_out))


def test_a_wrong_hit_is_counted(run):
    config = run[0]
    row = pq.read_table(f"{config.run_dir}/annotations/part-00000.parquet").to_pylist()[0]
    kept = answers_of(epath.Path(config.run_dir))[row["id"]]
    golds = Golds(tuple(row["answers"]), matcher("squad"))
    assert compare(kept, row, golds)["hits_differ"] == 0
    row["greedy_hits"][3] = not row["greedy_hits"][3]
    row["strict_sampled_hits"][2][5] = not row["strict_sampled_hits"][2][5]
    assert compare(kept, row, golds)["hits_differ"] == 2


def test_killed_and_resumed_gives_the_same_bytes(root, run, small_model, tmp_path, monkeypatch):
    whole = epath.Path(run[0].run_dir)
    write, calls = Answers.write, []

    def interrupted(self, number, *rest):
        calls.append(number)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(self, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Answers, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept_run.make(root, tmp_path, small_model)
    done = sorted(path.name for path in (tmp_path / "samples").glob("part-*"))
    assert len(done) == 1 and len(list((tmp_path / "annotations").glob("part-*"))) == 2
    kept_run.make(root, tmp_path, small_model)
    names = ["annotations.parquet", *(f"samples/{path.name}" for path in (whole / "samples").iterdir())]
    for name in names:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name
    assert found_in(tmp_path) == found_in(whole)


def test_greedy_answers_come_to_finished_labels_and_are_not_mixed_with_all(
    root, run, small_model, tmp_path, monkeypatch
):
    _, table, _ = run
    *_, labelled = kept_run.make(root, tmp_path, small_model, "--config.annotate.answers=none")
    assert not (tmp_path / "samples").exists()
    with monkeypatch.context() as patch:
        for owner, name in ((Engine, "start"), (Device, "warm_up"), (pools, "Pools")):
            patch.setattr(owner, name, None)  # labels are there, nothing is verified again, or made ready for it
        _, again, summary = kept_run.make(root, tmp_path, small_model, "--config.annotate.answers=greedy")
    kept, all_kept = answers_of(tmp_path), answers_of(epath.Path(run[0].run_dir))
    assert {name: row["greedy"] for name, row in kept.items()} == {n: row["greedy"] for n, row in all_kept.items()}
    assert all(row["sampled"] is None for row in kept.values())
    assert summary["answers"]["draws"] == 20 * 10 and summary["answers"]["hits_differ"] == 0
    assert summary["speed"] == labelled["speed"], "nothing was verified"
    np.testing.assert_array_equal(again["category"], table["category"])
    with pytest.raises(InputError, match="answers of another protocol"):
        kept_run.make(root, tmp_path, small_model)
