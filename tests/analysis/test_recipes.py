"""Recipes against D(X %), and endings, on planted answers counted by hand."""

import numpy as np
import pandas as pd
import pytest

from slick_jax.analysis import evidence, recipes, runs
from tests.analysis import planted
from tests.analysis.whole_study import knows


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """unknown_50 knows one category, sure_50 two; it is sure of HighlyKnown and MaybeKnown questions but each tenth."""
    folder = tmp_path_factory.mktemp("recipes")
    planted.write_manifest(folder, ["unknown_50", "sure_50", "patch_20"])
    for seed in (0, 1):
        planted.write_run(folder, "unknown_50", planted.mixture(400, 50), seed, epochs=4, answers=knows(1))
        planted.write_run(folder, "sure_50", planted.mixture(400, 50), seed, epochs=4, answers=knows(2))
        path = folder / "train" / "sure_50" / f"seed-{seed}" / "answers.parquet"
        table = pd.read_parquet(path)
        known = table["category"].isin(["HighlyKnown", "MaybeKnown"]).to_numpy()
        ending = np.where(known, "I am sure.", "I am unsure.")
        ending[::10] = ""
        table.assign(ending=ending).to_parquet(path)
    planted.write_run(folder, "patch_20", planted.mixture(400, 20), 0, epochs=4, answers=knows(3))
    return evidence.gather(runs.read_study(folder))


def test_accuracy_and_what_it_is_more_than_the_mixture(gathered):
    table = recipes.against_mixtures(gathered).set_index(["variant", "split", "stop"])
    categories = gathered.outcomes["test"].questions["category"]
    first, two, three = (100 * categories.isin(planted.CATEGORIES[:n]).mean() for n in (1, 2, 3))
    sure = table.loc["sure_50", "test", "CONVERGENCE"]
    assert (sure["accuracy"], sure["more"]) == (pytest.approx(two), pytest.approx(two - first))
    assert sure["seeds"] == 2 and sure["more_low"] < sure["more"] < sure["more_high"]
    patch = table.loc["patch_20", "test", "EARLY_STOP"]
    assert patch["accuracy"] == pytest.approx(three) and np.isnan(patch["more"])  # unknown_20 was not run
    assert set(table.index.get_level_values("variant")) == {"sure_50", "patch_20"}


def test_endings_are_counted_with_the_answers_before_them(gathered):
    table = recipes.endings(gathered)
    assert set(table["variant"]) == {"sure_50"} and set(table["ending"]) == {"", "I am sure.", "I am unsure."}
    by = table.set_index(["split", "stop", "ending"])
    (run,) = [run for run in gathered.study.runs if (run.variant, run.seed) == ("sure_50", 0)]
    asked = run.answers[(run.answers["split"] == "test") & (run.answers["stop"] == "CONVERGENCE")]
    for ending in ("", "I am sure.", "I am unsure."):
        here, found = asked[asked["ending"] == ending], by.loc["test", "CONVERGENCE", ending]
        assert found["share"] == pytest.approx(100 * len(here) / len(asked))
        assert found["right"] == pytest.approx(100 * here["hit"].mean())
    assert by.loc["test", "CONVERGENCE", "I am sure."]["right"] == 100
    assert by.loc["test", "CONVERGENCE", "I am unsure."]["right"] == 0


def test_without_such_runs_the_tables_are_empty():
    nothing = evidence.gather(runs.Study({}, None, (), ()))
    assert recipes.against_mixtures(nothing).empty and recipes.endings(nothing).empty
