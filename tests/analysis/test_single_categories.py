"""T2 with models that know exactly what they should, its stars by the paper's test, T8 by counting."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from slick_jax.analysis import evidence, idk, runs, significance, single_categories
from slick_jax.epochs import STOPS
from tests.analysis import planted, whole_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return whole_study.write(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def gathered(folder):
    return evidence.gather(runs.read_study(folder, seeds=whole_study.SEEDS))


@pytest.fixture(scope="module")
def table(gathered):
    found, missing = single_categories.table_two(gathered)
    assert missing == []
    return found.set_index(["variant", "stop", "subset"])


def test_models_that_know_whole_categories_are_right_on_exactly_these(table):
    for stop in STOPS:
        for variant, known in (("D_MaybeKnown", 2), ("D_WeaklyKnown", 1), ("D_Natural", 3)):
            for place, category in enumerate(planted.CATEGORIES):
                row = table.loc[variant, stop, category]
                assert (row["accuracy"], row["low"], row["high"]) == (100.0 * (place < known),) * 3
            assert table.loc[variant, stop, "Full"]["accuracy"] == pytest.approx(25 * known)


def test_accuracy_is_the_mean_over_seeds_of_the_files(table, folder):
    found = [
        pd.read_parquet(folder / f"train/only_HighlyKnown/seed-{seed}/answers.parquet")
        .query("split == 'test' and stop == 'EARLY_STOP' and category == 'MaybeKnown'")["hit"].mean()
        for seed in whole_study.SEEDS
    ]  # fmt: skip
    row = table.loc["D_HighlyKnown", "EARLY_STOP", "MaybeKnown"]
    assert row["accuracy"] == pytest.approx(100 * np.mean(found))
    assert row["low"] < row["accuracy"] < row["high"] and row["n"] == 100 and row["seeds"] == 3


def test_stars_stand_at_what_differs_from_the_best_of_the_column(table, gathered):
    full = table.xs("Full", level="subset").xs("CONVERGENCE", level="stop")
    assert full.index[full["best"]].tolist() == ["D_Natural"]
    assert full.loc["D_Natural", "stars"] == "" and full.loc["D_WeaklyKnown", "stars"] == "**"
    outcomes = gathered.outcomes["test"]
    cut = significance.parts(400)
    parts = [
        [100 * outcomes.of(name, "CONVERGENCE", (0, 1, 2))[:, part].mean() for part in cut]
        for name in ("natural", "unknown_100")
    ]
    assert full.loc["D_Unknown", "p_best"] == pytest.approx(stats.ttest_rel(*parts).pvalue)
    assert full.loc["D_Unknown", "behind_high"] < 0
    unknown = table.xs("Unknown", level="subset")
    assert (unknown["stars"] == "").all()  # none is right there, so none is worse


def test_stopping_points_are_compared_within_a_row(table):
    row = table.loc["D_Unknown", "EARLY_STOP", "Full"]
    assert row["lost"] == pytest.approx(row["accuracy"] - table.loc["D_Unknown", "CONVERGENCE", "Full"]["accuracy"])
    assert row["lost_low"] > 0 and row["stars_stops"] == "**"
    same = table.loc["D_MaybeKnown", "EARLY_STOP", "Full"]
    assert (same["lost"], same["p_stops"], same["stars_stops"]) == (0.0, 1.0, "")


def test_printed_as_in_the_paper(table):
    shown = single_categories.as_printed(table.reset_index(), "CONVERGENCE")
    assert shown.columns.tolist() == ["variant", "Full", *planted.CATEGORIES]
    assert shown["variant"].tolist() == list(single_categories.VARIANTS.values())
    assert shown.loc[1, "Full"].startswith("50.0** [") and shown.loc[4, "HighlyKnown"] == "100.0 [100.0, 100.0]"
    lost = single_categories.lost_as_printed(table.reset_index()).set_index("variant")
    assert lost.loc["D_MaybeKnown", "Full"] == "+0.0 [+0.0, +0.0]"


def test_missing_data_sets_are_named_and_the_others_compared(tmp_path):
    planted.write_run(tmp_path, "unknown_100", {"Unknown": 40}, epochs=8)
    planted.write_run(tmp_path, "natural", whole_study.NATURAL, epochs=8)
    table, missing = single_categories.table_two(evidence.gather(runs.read_study(tmp_path)))
    assert set(table["variant"]) == {"D_Unknown", "D_Natural"}
    assert missing == [
        "T2/T7: no finished only_HighlyKnown, only_MaybeKnown, only_WeaklyKnown with answers at both stopping points"
    ]


def test_published_table_is_the_papers():
    unknown = single_categories.PUBLISHED["CONVERGENCE"]["D_Unknown"]
    assert unknown == (25.8, 55.8, 36.6, 12.2, 3.2)


def test_refusals_leave_the_answered_questions(gathered):
    """D_IDK is right on two categories, wrong on one, and refuses one: 2/3 right of the 3/4 that it answers."""
    table, missing = idk.table_eight(gathered)
    assert missing == []
    rows = table.set_index(["variant", "stop"])
    for stop in STOPS:
        row = rows.loc["D_IDK", stop]
        assert (row["accuracy"], row["answered"]) == (pytest.approx(200 / 3), pytest.approx(75))
        assert row["low"] < 200 / 3 < row["high"] and row["answered_low"] < 75 < row["answered_high"]
        assert rows.loc["D", stop]["answered"] == rows.loc["D", stop]["answered_low"] == 100
    assert rows.loc["D_IDK", "EARLY_STOP"]["paper_answered"] == 58.7


def test_without_refusing_runs_t8_says_what_it_needs(tmp_path):
    planted.write_run(tmp_path, "unknown_50", planted.mixture(40, 50), epochs=8)
    table, missing = idk.table_eight(evidence.gather(runs.read_study(tmp_path)))
    assert table.empty and missing == [idk.NEEDS]
