"""The sentences hold the planted figures, and nothing that the runs cannot tell."""

import pandas as pd
import pytest

from slick_jax.analysis import headline, regression, runs
from tests.analysis import planted


def test_table_holds_the_stopping_points_and_epochs_to_fit(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(50,), epochs=30)
    study = runs.read_study(tmp_path)
    row = headline.table(study).set_index("variant").loc["unknown_50"]
    assert (row["EARLY_STOP"], row["CONVERGENCE"], row["fit Unknown"]) == (6, 30, 19)
    run = next(run for run in study.runs if run.variant == "unknown_50")
    assert row["test at CONV"] == pytest.approx(run.accuracy_at(30, "test"), abs=0.05)
    assert pd.isna(headline.table(study).set_index("variant").loc["unknown_0", "fit Unknown"])


def test_sentences_say_the_planted_differences(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50, 100), known_only=(50,), epochs=30)
    study = runs.read_study(tmp_path)
    said = "\n".join(headline.sentences(study, regression.table_one(study)[0]))
    accuracy = {(run.variant, stop): run.accuracy_at(run.epoch_of(stop), "test") for run in study.runs
                for stop in runs.STOPS}  # fmt: skip
    change = accuracy["unknown_100", "CONVERGENCE"] - accuracy["unknown_0", "CONVERGENCE"]
    cost = accuracy["unknown_50", "CONVERGENCE"] - accuracy["known_only_50", "CONVERGENCE"]
    assert f"{change:+.1f} points at CONVERGENCE" in said
    assert f"{cost:+.1f} points at CONVERGENCE in test accuracy" in said
    assert "90% of the Unknown examples were fitted after epoch 19" in said
    assert "after epoch 6 of 30 (EARLY_STOP)" in said


def test_one_run_alone_is_not_compared_with_anything(tmp_path):
    planted.write_study(tmp_path, percents=(50,), known_only=(), epochs=8)
    study = runs.read_study(tmp_path)
    said = headline.sentences(study, pd.DataFrame())
    assert len(said) == 2 and "at no epoch up to 8" in said[0]


def test_nothing_finished_says_nothing():
    assert headline.sentences(runs.Study({}, None, (), ()), pd.DataFrame()) == []
