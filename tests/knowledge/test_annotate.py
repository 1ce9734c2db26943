"""`slick annotate` on a trained model: hits equal the reference, whatever the batch, devices or interruptions."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from slick_jax.categories import CATEGORIES
from slick_jax.data.corpus import P_TRUE_FORM
from slick_jax.knowledge import estimate
from slick_jax.knowledge.engine import IN_FLIGHT
from slick_jax.main import main
from slick_jax.models.weights import read_spec
from tests.data.chat_templates import AS_QA
from tests.knowledge import exactness
from tests.knowledge.reference import plain_p_true

INTEGERS = [
    "id", "split", "relation", "answers", "exemplar_sets", "greedy_hits", "sampled_hits", "strict_greedy_hits",
    "strict_sampled_hits", "p_correct_greedy", "p_correct_sampled", "category", "strict_category", "truncated",
    "abstained_greedy", "abstained_sampled",
]  # fmt: skip
FLOATS = [
    "p_correct_exact", "exact_rest", "p_unknown_given_sets", "gold_logprob", "p_highly", "p_maybe", "p_weakly",
    "p_unknown", "p_true",
]  # fmt: skip


def command(root, run_dir, model, *overrides):
    settings = {"run_dir": run_dir, "model.path": model}
    return [
        sys.executable, "-m", "slick_jax.main", "annotate", f"--config={root / 'tests' / 'small_world.py'}",
        *(f"--config.{name}={value}" for name, value in settings.items()), *overrides,
    ]  # fmt: skip


def environment(devices):
    return os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")}


def annotate(root, run_dir, model, *overrides, devices=1):
    done = subprocess.run(
        command(root, run_dir, model, *overrides), cwd=root, env=environment(devices), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return pq.read_table(run_dir / "annotations.parquet").to_pandas(), done.stdout


def assert_same(first, second):
    for name in INTEGERS:
        assert first[name].map(str).tolist() == second[name].map(str).tolist(), name
    for name in FLOATS:
        np.testing.assert_allclose(first[name], second[name], atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def run(root, small_model, tmp_path_factory):
    """An undisturbed run over all rows of the small world."""
    folder = tmp_path_factory.mktemp("annotated")
    table, printed = annotate(root, folder, small_model)
    return folder, table, printed


def test_every_category_appears_and_the_tables_agree(run):
    folder, table, printed = run
    summary = json.loads((folder / "summary.json").read_text())
    assert set(table["category"]) == set(CATEGORIES)
    counts = table.groupby(["split", "category"]).size()
    for split, shares in summary["categories"].items():
        assert shares == {name: counts.get((split, name), 0) for name in CATEGORIES}
    for split, relation in table.groupby(["split", "relation"]).groups:
        assert relation in printed and sum(summary["relations"][split][relation].values()) > 0
    whole = pd.read_csv(folder / "saturation.csv").iloc[-1]  # with all sets and samples: the run's own shares
    assert (whole["n_exemplar_sets"], whole["n_samples"]) == (10, 16)
    assert whole[list(CATEGORIES)].tolist() == pytest.approx(
        [100 * (table["category"] == name).mean() for name in CATEGORIES]
    )


def test_columns_follow_from_the_stored_hits(run):
    _, table, _ = run
    for prefix in ("", "strict_"):
        greedy = np.array(table[f"{prefix}greedy_hits"].tolist())
        sampled = np.array([np.stack(row) for row in table[f"{prefix}sampled_hits"]])
        assert greedy.shape[1:] == (10,) and sampled.shape[1:] == (10, 16)
        np.testing.assert_allclose(table[f"{prefix}p_correct_greedy"], greedy.mean(1))
        np.testing.assert_allclose(table[f"{prefix}p_correct_sampled"], sampled.mean((1, 2)))
        expected = np.select(
            [greedy.all(1), greedy.any(1), sampled.any((1, 2))], ["HighlyKnown", "MaybeKnown", "WeaklyKnown"], "Unknown"
        )
        assert (table[f"{prefix}category"] == expected).all()
    certain = table[["p_highly", "p_maybe", "p_weakly", "p_unknown"]].sum(axis=1)
    np.testing.assert_allclose(certain, 1.0)
    exact, sampled = table["p_correct_exact"], table["p_correct_sampled"]
    assert (exact >= 0).all() and (exact <= 1 + 1e-9).all() and (table["exact_rest"] * 10 < 1e-3 + 1e-12).all()
    assert abs(exact.mean() - sampled.mean()) < 0.01 and np.corrcoef(exact, sampled)[0, 1] > 0.99


def test_a_chat_template_of_the_same_texts_gives_the_same_hits_from_the_hub_cache(
    run, root, small_model, tmp_path, monkeypatch
):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "cache" / "models--org--small"
    shutil.copytree(small_model, cached / "snapshots" / commit)
    (cached / "snapshots" / commit / "chat_template.jinja").write_text(AS_QA)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chosen = ["--config.annotate.prompt_style=chat", "--config.data.splits=test", "--config.data.limit=24"]
    found, _ = annotate(root, tmp_path / "run", "org/small", *chosen)
    whole = run[1].set_index("id").loc[found["id"]].reset_index()
    assert len(found) == 24 and found["greedy_hits"].map(sum).sum() > 0
    for name in INTEGERS:
        assert found[name].map(str).tolist() == whole[name].map(str).tolist(), name
    np.testing.assert_allclose(found["p_correct_exact"], whole["p_correct_exact"], atol=1e-5)
    assert set(found["protocol"]) & set(whole["protocol"]) == set()
    described = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert described["model"]["source"] == f"org/small@{commit}"
    assert described["model"]["path"].endswith(commit)


def test_hits_equal_the_reference_on_60_examples_of_four_relations(run, small_model):
    folder, table, _ = run
    rows = table[table["split"] == "test"].groupby("relation").head(15)
    assert rows["relation"].nunique() == 4 and len(rows) == 60
    figures, differing = exactness.compare(folder, exactness.load_model(small_model), rows)
    print(figures)
    assert figures["draws"] == 60 * 170 and figures["hits"] > 1000
    assert not differing, differing


def test_p_true_is_that_of_a_plain_forward_pass(run, small_model):
    folder, table, _ = run
    model = exactness.load_model(small_model)
    tokenizer, rows = model.tokenizer, table.groupby("relation").head(8)
    found = []
    for row in rows.to_dict("records"):
        whole = [
            P_TRUE_FORM.format(question=row["question"], answer=row["answers"][0], verdict=letter) for letter in "AB"
        ]
        pair = map(tokenizer.encode, whole)
        found.append(plain_p_true(model.network, model.params, *pair, tokenizer.token_bytes, tokenizer.n_ids))
    np.testing.assert_allclose(rows["p_true"], found, atol=1e-5)
    assert rows["p_true"].std() > 0.01
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["p_true"] == pytest.approx(table.groupby("category")["p_true"].mean().to_dict())
    assert summary["cost"]["p_true_tokens"] > 20 * len(table)


def test_exact_p_correct_is_the_mean_of_fresh_reference_draws(run, small_model):
    folder, table, _ = run
    cells = exactness.exact_cells(folder, exactness.load_model(small_model), table, n_cells=24, n_draws=300)
    figures = exactness.check_exact(cells, 300)
    assert figures["tested"] >= 10


def test_eight_devices_and_another_batch_give_the_same_result(root, run, small_model, tmp_path):
    _, table, _ = run
    limit = table.groupby("split", sort=False).head(40)
    small = ("--config.data.limit=40", "--config.annotate.batch_tokens=64")  # of each device
    changed = ("--config.data.limit=40", "--config.annotate.batch_tokens=300")
    prior = ["p_highly", "p_maybe", "p_weakly", "p_unknown"]  # fitted to the run's rows, so they differ with the limit
    eight, _ = annotate(root, tmp_path / "eight", small_model, *small, devices=8)
    other, _ = annotate(root, tmp_path / "batch", small_model, *changed, devices=1)
    assert_same(eight, other)
    cut = (*small, "--config.mesh.data=2", "--config.mesh.fsdp=2", "--config.mesh.tensor=2")
    assert_same(eight, annotate(root, tmp_path / "cut", small_model, *cut, devices=8)[0])
    for name in prior:
        limit = limit.assign(**{name: eight[name].to_numpy()})
    assert_same(limit, eight)


@pytest.mark.verify
def test_killed_three_times_and_resumed_gives_the_same_bytes(root, run, small_model, tmp_path):
    folder, _, _ = run
    parts = len(list((folder / "annotations").glob("part-*.parquet")))
    generator = random.Random(5)
    for done in sorted(generator.sample(range(1, parts - IN_FLIGHT), 3)):  # the last few are written together
        process = subprocess.Popen(
            command(root, tmp_path, small_model), cwd=root, env=environment(1),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while len(list((tmp_path / "annotations").glob("part-*.parquet"))) < done:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(generator.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "annotations.parquet").exists()
    annotate(root, tmp_path, small_model)
    names = ["annotations.parquet", "exemplars.json"]
    names += [f"annotations/{path.name}" for path in (folder / "annotations").iterdir()]
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name
    assert found_in(tmp_path) == found_in(folder)


def found_in(folder):
    """The summary without its `speed`, which is another every time."""
    summary = json.loads((folder / "summary.json").read_text())
    summary.pop("speed", None)  # nothing was verified
    return summary


def test_the_summary_says_what_it_cost_and_how_fast_it_was(run, small_model):
    folder, table, _ = run
    summary = json.loads((folder / "summary.json").read_text())
    cost, speed = summary["cost"], summary["speed"]
    spec = read_spec(small_model)
    heads, d, h = spec.n_heads + spec.n_kv_heads, spec.d_model, spec.head_dim
    layer = 2 * d * h * heads + 3 * d * spec.d_mlp  # q and o, k and v; gate, up and down
    assert cost["flops_per_question"]["linear"] == pytest.approx(
        2 * spec.n_layers * layer * cost["tokens_forwarded_per_question"]
    )
    assert cost["flops_per_question"]["head"] == pytest.approx(
        2 * d * spec.vocab_size * cost["positions_judged_per_question"]
    )
    assert speed["questions"] == len(table) == summary["questions"]
    assert 0 < speed["model_flop_utilisation_with_start"] < speed["model_flop_utilisation"] < 1
    assert speed["seconds"]["waiting for the device"] < speed["seconds"]["verify"]


@pytest.mark.parametrize("mode", ["labels", "exact"])
def test_other_modes_give_the_labels_of_full(root, run, small_model, tmp_path, mode):
    _, table, _ = run
    found, _ = annotate(root, tmp_path, small_model, f"--config.annotate.mode={mode}", "--config.data.splits=test")
    schemas = [pq.read_schema(folder / "annotations.parquet") for folder in (run[0], tmp_path)]
    assert schemas[0] == schemas[1]
    table = table[table["split"] == "test"]
    assert found["greedy_hits"].map(str).tolist() == table["greedy_hits"].map(str).tolist()
    np.testing.assert_allclose(found["p_true"], table["p_true"], atol=1e-5)
    if mode == "labels":
        assert found["category"].tolist() == table["category"].tolist()
        assert found["p_correct_exact"].isna().all()
    else:
        expected = [
            estimate.exact_category(np.array(hits), p)
            for hits, p in zip(table["greedy_hits"], table["p_unknown_given_sets"], strict=True)
        ]
        assert found["category"].tolist() == expected
        np.testing.assert_allclose(found["p_correct_exact"], table["p_correct_exact"], atol=2e-3)


def test_more_exact_pairs_come_from_the_same_pass(root, run, small_model, tmp_path):
    _, table, _ = run
    pairs = "((0.5,40),(1.0,5),(0.25,60))"
    found, _ = annotate(
        root, tmp_path, small_model, f"--config.annotate.exact_pairs={pairs}", "--config.data.splits=ood_test"
    )
    table = table[table["split"] == "ood_test"]
    pairs = np.array(found["exact_pairs"].tolist())
    np.testing.assert_allclose(pairs[:, 0], found["p_correct_exact"], atol=1e-12)
    np.testing.assert_allclose(found["p_correct_exact"], table["p_correct_exact"], atol=1e-3)
    assert pd.Series(pairs[:, 2]).corr(found["p_correct_greedy"]) > pd.Series(pairs[:, 1]).corr(
        found["p_correct_greedy"]
    )


@pytest.mark.parametrize("setting", ["dtype=bfloat16", "weights=int8"])
def test_labels_in_fewer_bits_are_nearly_those_of_float32(root, run, small_model, tmp_path, setting):
    _, table, _ = run
    found, _ = annotate(root, tmp_path, small_model, f"--config.model.{setting}", "--config.data.splits=test")
    same = (found["category"].to_numpy() == table.loc[table["split"] == "test", "category"].to_numpy()).mean()
    print(f"{setting}: {1 - same:.1%} of the labels differ from float32")
    assert same > 0.8


def test_a_folder_of_another_protocol_is_refused(root, run, small_model, capsys):
    folder, _, _ = run
    changes = {"annotate.temperature=0.7": "temperature", "model.weights=int8": "weights", "data.limit=3": "rows"}
    for change, named in changes.items():
        assert main(command(root, folder, small_model, f"--config.{change}")[3:]) == 2
        told = capsys.readouterr().err
        assert named in told and "run_dir" in told and "Traceback" not in told
