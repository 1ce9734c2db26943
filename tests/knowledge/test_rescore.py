"""`slick rescore`: the run again by its own rule, its strict columns by the strict rule, and a user's rule."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from slick_jax.analysis import annotated
from slick_jax.config import AnnotateConfig, RescoreConfig
from slick_jax.data import annotations
from slick_jax.errors import InputError
from slick_jax.knowledge.rescore import rescore
from slick_jax.knowledge.rescore import run as run_rescore
from tests.knowledge import kept_run


def roughly(text, golds):
    """A rule of a user, which many wrong answers fulfil: the first letter or the number of words is right."""
    return any(text.strip()[:1] == gold[:1] or len(text.split()) == len(gold.split()) for gold in golds)


@pytest.fixture(scope="module")
def run(root, small_model, tmp_path_factory):
    config, table, summary = kept_run.make(root, tmp_path_factory.mktemp("rescored"), small_model)
    return config, pd.read_parquet(f"{config.run_dir}/annotations.parquet"), summary


def again(config, folder, **changes):
    changed = kept_run.with_annotate(config, **changes)
    return dataclasses.replace(changed, run_dir=str(folder), rescore=RescoreConfig(source=config.run_dir))


def same(first, second):
    assert first.map(str).tolist() == second.map(str).tolist(), first.name


def test_the_same_rule_gives_the_run(run, tmp_path, capsys):
    config, table, summary = run
    run_rescore(again(config, tmp_path / "same"))
    assert "0 of 20 categories differ" in capsys.readouterr().out
    found = pd.read_parquet(tmp_path / "same" / "annotations.parquet")
    assert found.columns.tolist() == table.columns.tolist()
    for name in table.columns.drop("protocol"):
        same(found[name], table[name])
    stored = json.loads((tmp_path / "same" / "summary.json").read_text())
    for name in ("categories", "relations", "strict_differs", "truncated_draws", "questions"):
        assert stored[name] == summary[name]
    assert (tmp_path / "same" / "saturation.csv").read_bytes() == (
        annotations.epath.Path(config.run_dir) / "saturation.csv"
    ).read_bytes()


def test_strict_gives_the_strict_columns(run, tmp_path):
    config, table, _ = run
    _, before = rescore(again(config, tmp_path / "strict", match="strict"))
    assert before.tolist() == table["category"].tolist()
    found = pd.read_parquet(tmp_path / "strict" / "annotations.parquet")
    for name in ("greedy_hits", "sampled_hits", "p_correct_greedy", "p_correct_sampled", "p_correct_exact", "category"):
        same(found[name], table[f"strict_{name}"].rename(name))
        same(found[f"strict_{name}"], table[f"strict_{name}"])
    assert found["p_unknown_given_sets"].isna().all() and found["p_unknown"].isna().all()
    assert found["p_highly"].between(0, 1).all()


def test_a_users_rule_and_the_commands_that_follow(run, tmp_path):
    config, table, _ = run
    rule = "tests.knowledge.test_rescore:roughly"
    changed = again(config, tmp_path / "roughly", match=rule)
    found, _ = rescore(changed)
    for name in ("p_correct_greedy", "p_correct_sampled"):
        assert (found[name] >= table[name]).all()
    assert found["p_correct_sampled"].sum() > table["p_correct_sampled"].sum()
    assert found["p_correct_exact"].isna().all()
    rows = annotations.read(changed)  # as `slick mix` reads them
    assert [row.category for row in rows.rows] == found.loc[found["split"] == "train", "category"].tolist()
    assert rows.model == annotations.read(config).model and rows.protocol != annotations.read(config).protocol
    assert len(annotated.read(annotations.path(changed), "")) == len(found)  # as `slick report` reads them
    with pytest.raises(InputError, match="annotate.match"):
        annotations.read(dataclasses.replace(changed, annotate=config.annotate))
    np.testing.assert_array_equal(rescore(changed)[0]["category"], found["category"])  # given again


def test_other_settings_than_the_rule_are_refused(run, tmp_path):
    config, _, _ = run
    with pytest.raises(InputError, match=r"n_samples: 8, and 16 in the source\n.*top_k: 3, and 40"):
        rescore(again(config, tmp_path / "changed", match="strict", n_samples=8, top_k=3))
    asked = again(config, tmp_path / "defaults", match="strict")
    rescore(dataclasses.replace(asked, annotate=AnnotateConfig(match="strict")))  # the settings are the source's
    changed = json.loads((tmp_path / "defaults" / "config.json").read_text())["config"]["annotate"]
    assert changed["part_size"] == 8 and changed["match"] == "strict"


def test_odd_settings_of_the_source_are_one_message(run, tmp_path):
    config, _, _ = run
    record = json.loads((annotations.epath.Path(config.run_dir) / "config.json").read_text())
    (tmp_path / "annotations.parquet").touch()
    asked = dataclasses.replace(config, run_dir="x", rescore=RescoreConfig(source=str(tmp_path)))
    settings = record["config"]["annotate"]
    for odd, said in (
        (settings | {"batch_rows": 3, "n_samples": "16"}, r"(?s)annotate.n_samples: '16' is str.*batch_rows: no such"),
        (None, "holds no settings"),
        ([], "holds no settings"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(record | {"config": {"annotate": odd}}))
        with pytest.raises(InputError, match=said):
            rescore(asked)
    for odd in ([], {"config": 3, "protocol": ""}, {"config": {}}):
        (tmp_path / "config.json").write_text(json.dumps(odd))
        with pytest.raises(InputError, match="no finished run"):
            rescore(asked)


def test_what_cannot_be_rescored_is_refused(run, tmp_path):
    config, _, _ = run
    with pytest.raises(InputError, match="no finished run"):
        rescore(dataclasses.replace(config, run_dir="x", rescore=RescoreConfig(source=str(tmp_path))))
    with pytest.raises(InputError, match="the same folder"):
        rescore(again(config, config.run_dir))
    rescore(again(config, tmp_path / "one"))
    with pytest.raises(InputError, match="holds another run"):
        rescore(again(config, tmp_path / "one", match="strict"))
    record = json.loads((annotations.epath.Path(config.run_dir) / "config.json").read_text())
    for kept, said in (("greedy", "WeaklyKnown"), ("none", "no text")):
        record["config"]["annotate"]["answers"] = kept
        (tmp_path / kept).mkdir()
        (tmp_path / kept / "config.json").write_text(json.dumps(record))
        (tmp_path / kept / "annotations.parquet").touch()
        with pytest.raises(InputError, match=said):
            rescore(dataclasses.replace(config, run_dir="x", rescore=RescoreConfig(source=str(tmp_path / kept))))
