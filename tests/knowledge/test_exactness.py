"""`make verify`: the demo model against the reference process, at length. Writes docs/exactness.md."""

import dataclasses
import datetime
import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from slick_jax.knowledge import annotate
from slick_jax.settings.config_file import load_config
from tests.knowledge import exactness

pytestmark = pytest.mark.verify

RELATIONS = ("author", "capital", "genre", "spouse")
CATEGORY_COLUMNS = {
    "HighlyKnown": "p_highly",
    "MaybeKnown": "p_maybe",
    "WeaklyKnown": "p_weakly",
    "Unknown": "p_unknown",
}


@pytest.fixture(scope="module")
def run(root):
    """The demo's run folder ($SLICK_DEMO_RUN, else runs/demo; made where it is not there) and its annotations."""
    folder = Path(os.environ.get("SLICK_DEMO_RUN", root / "runs" / "demo"))
    if not (folder / "annotations.parquet").exists():
        from slick_jax import demo

        demo.run(load_config([f"--config={root}/configs/demo.py", f"--config.run_dir={folder}"]))
    return folder, pq.read_table(folder / "annotations.parquet").to_pandas()


@pytest.fixture(scope="module")
def model(run):
    return exactness.load_model(run[0] / "model")


@pytest.fixture(scope="module")
def report(root):
    """Sections by title; written to docs/exactness.md when all tests of this file have run."""
    sections: dict[str, list[str]] = {}
    yield sections
    if len(sections) == 3:
        date = datetime.date.today().isoformat()
        lines = [
            "# Exactness",
            "",
            "How closely annotations follow the reference process, as `make verify` measured it",
        ]
        lines += [
            f"on the demo model ({date}). The reference decodes every draw token by token: no cache, no draft, no"
        ]
        lines += ["shared prefix, selection in numpy (tests/knowledge/reference.py).", ""]
        for title in sorted(sections):
            lines += [f"## {title}", "", *sections[title], ""]
        (root / "docs" / "exactness.md").write_text("\n".join(lines))


def _table(figures):
    return [
        "| what | figure |",
        "| --- | --- |",
        *(f"| {name.replace('_', ' ')} | {value} |" for name, value in figures),
    ]


def test_hits_equal_the_reference_on_every_test_example_of_four_relations(run, model, report):
    folder, table = run
    rows = table[(table["split"] == "test") & table["relation"].isin(RELATIONS)]
    figures, differing = exactness.compare(folder, model, rows)
    print(figures)
    cost = json.loads((folder / "summary.json").read_text())["cost"]
    causes = Counter(cost["alive_branches_by_cause"])
    shown = [(name, f"{value:.2e}" if name == "smallest_margin" else f"{value:,}") for name, value in figures.items()]
    report["1. Hits"] = [
        f"Every test example of {', '.join(RELATIONS)}; greedy draw and 16 samples behind 10 exemplar sets; both match",
        "rules. A margin is how far a decision was from another token, in logits or scores.", "",
        *_table(shown), "",
        f"Branches that outlived the draft in the whole run ({cost['alive_branches']:,}), by cause:", "",
        *_table([(cause, f"{number:,}") for cause, number in causes.most_common()]),
    ]  # fmt: skip
    assert not differing, differing


def test_exact_p_correct_is_the_mean_of_fresh_reference_draws(run, model, report):
    folder, table = run
    cells = exactness.exact_cells(folder, model, table, n_cells=240, n_draws=300)
    figures = exactness.check_exact(cells, 300)
    print(figures)
    report["2. Exact P_Correct"] = [
        "Cells (example, exemplar set) against 300 fresh reference samples each. z is the distance of the hits from",
        "their expectation in standard errors, where more than 5 hits and 5 misses are expected; the others lie within",
        "a Poisson interval together.", "",
        *_table([(name, round(value, 3)) for name, value in figures.items()]),
    ]  # fmt: skip
    assert figures["tested"] >= 100
    assert 0.8 < figures["mean_z2"] < 1.2


def test_label_certainty_predicts_the_agreement_of_two_runs(root, run, tmp_path, report):
    folder, table = run
    config = load_config([f"--config={root}/configs/demo.py", f"--config.run_dir={tmp_path}"])
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, path=str(folder / "model")),
        annotate=dataclasses.replace(config.annotate, seed=1, exemplar_seed=1),
    )
    again, _ = annotate.annotate(config)
    predicted = sum(row[CATEGORY_COLUMNS[row["category"]]] for row in table.to_dict("records")) / len(table)
    agreement = (table["category"].to_numpy() == again["category"].to_numpy()).mean()
    print(f"agreement {agreement:.3f}, predicted {predicted:.3f}")
    report["3. Label certainty"] = [
        "Share of examples that get the same category with other exemplar sets and other noise, over all rows:", "",
        *_table([("examples", len(table)), ("agreement", f"{agreement:.1%}"), ("predicted", f"{predicted:.1%}")]),
    ]  # fmt: skip
    assert abs(agreement - predicted) < 0.03
