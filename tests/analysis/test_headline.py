"""The sentences hold the planted figures, and nothing that the runs cannot tell."""

import dataclasses
import json

import pandas as pd
import pytest

from slick_jax.analysis import curves, headline, regression, runs
from slick_jax.epochs import STOPS
from tests.analysis import planted


def test_table_holds_the_stopping_points_and_epochs_to_fit(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(50,), epochs=30)
    study = runs.read_study(tmp_path)
    row = headline.table(study.runs).set_index("variant").loc["unknown_50"]
    assert (row["EARLY_STOP"], row["CONVERGENCE"]) == (6, 30)
    assert (row["fit50 Unknown"], row["fit90 Unknown"]) == (6, 19)  # 1 - exp(-0.12 e) at e = 5.8 and 19.2, in examples
    run = next(run for run in study.runs if run.variant == "unknown_50")
    assert row["test at CONV"] == pytest.approx(run.accuracy_at(30, "test"), abs=0.05)
    assert pd.isna(headline.table(study.runs).set_index("variant").loc["unknown_0", "fit90 Unknown"])


def test_sentences_say_the_planted_differences(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50, 100), known_only=(50,), epochs=30)
    study = runs.read_study(tmp_path)
    said = "\n".join(headline.sentences(study, regression.table_one(study)[0]))
    accuracy = {(run.variant, stop): run.accuracy_at(run.epoch_of(stop), "test") for run in study.runs
                for stop in STOPS}  # fmt: skip
    change = accuracy["unknown_100", "CONVERGENCE"] - accuracy["unknown_0", "CONVERGENCE"]
    cost = accuracy["unknown_50", "CONVERGENCE"] - accuracy["known_only_50", "CONVERGENCE"]
    assert f"{change:+.1f} points at CONVERGENCE" in said
    assert f"{cost:+.1f} points at CONVERGENCE in test accuracy" in said
    assert "of the Unknown examples, 50 % after epoch 6 and 90 % after epoch 19" in said
    assert headline.OF_SEEDS not in said
    assert "after epoch 6 of 30 (EARLY_STOP)" in said


def test_one_run_alone_is_not_compared_with_anything(tmp_path):
    planted.write_study(tmp_path, percents=(50,), known_only=(), epochs=8)
    study = runs.read_study(tmp_path)
    said = headline.sentences(study, pd.DataFrame())
    assert len(said) == 2 and "90 % at no epoch up to 8" in said[0]


def test_several_seeds_are_their_mean_and_range(tmp_path):
    """Seed s falls s points more at CONVERGENCE, and stops at epoch 6 + s."""
    for seed in range(3):
        for percent in (0, 100):
            def scores(epoch, fitted, size, seed=seed, percent=percent):
                test = 0.4 - (0.05 + 0.01 * seed) * (epoch == 12) * percent / 100
                return {"dev": 0.5 - abs(epoch - 6 - seed) / 100, "test": test, "ood_test": 0.4}

            counts = planted.mixture(400, percent)
            planted.write_run(tmp_path, f"unknown_{percent}", counts, seed, epochs=12, scores=scores)
    study = runs.read_study(tmp_path)
    said = headline.sentences(study, pd.DataFrame())
    assert "+0.0 points at EARLY_STOP, -6.0 (-7.0 to -5.0) points at CONVERGENCE" in said[2]
    assert "best, at 50.0 %, after epoch 7.0 (6 to 8) of 12 (EARLY_STOP)" in said[1]
    fitted = [planted.fit_counts(planted.mixture(400, 0), 6 + seed, seed) for seed in range(3)]
    shares = [sum(counts.values()) / 400 * 100 for counts in fitted]
    assert len(set(shares)) > 1
    assert f"{sum(shares) / 3:.1f} ({min(shares):.0f} to {max(shares):.0f}) % of the Known examples" in said[1]
    assert said[-1] == headline.OF_SEEDS


def test_seeds_that_never_fit_are_counted(tmp_path):
    for seed in range(2):
        planted.write_run(tmp_path, "unknown_100", {"Unknown": 100}, seed, epochs=19)
    study = runs.read_study(tmp_path)
    assert [curves.epoch_to_fit(run, "Unknown", 90) for run in study.runs] == [19, 18]
    slow = [run if run.seed else dataclasses.replace(run, fitted=run.fitted.query("epoch < 19")) for run in study.runs]
    said = headline.sentences(dataclasses.replace(study, runs=tuple(slow)), pd.DataFrame())[0]
    assert "90 % after epoch 18 (and in 1 of 2 seeds at none up to 19)" in said


def test_each_stopping_point_names_its_own_range_of_unknown(tmp_path):
    for percent in (0, 50, 100):
        planted.write_run(tmp_path, f"unknown_{percent}", planted.mixture(40, percent), epochs=8)
    path = tmp_path / "train/unknown_100/seed-0/result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"early_stop_epoch": None}))
    said = "\n".join(headline.sentences(runs.read_study(tmp_path), pd.DataFrame()))
    early, late = [line for line in said.splitlines() if "test accuracy changed" in line]
    assert early.startswith("From 0 % to 50 %") and "EARLY_STOP" in early and "CONVERGENCE" not in early
    assert late.startswith("From 0 % to 100 %") and "CONVERGENCE" in late and "EARLY_STOP" not in late


def test_nothing_finished_says_nothing():
    assert headline.sentences(runs.Study({}, None, (), ()), pd.DataFrame()) == []
