"""The numbers of the figures against the planted files, with epochs left out as a demo leaves them out."""

import pytest

from slick_jax.analysis import curves, runs
from tests.analysis import planted

DEMO_TEST = (*range(1, 13), 16, 20, 24, 28, 30)


@pytest.fixture
def study(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50, 100), known_only=(50,), epochs=30, test=DEMO_TEST)
    return runs.read_study(tmp_path)


def test_the_followed_run_is_the_one_nearest_to_half_unknown(study):
    assert [run.variant for run in curves.followed(study)] == ["unknown_50"]
    rest = [run for run in study.runs if run.variant != "unknown_50"]
    assert curves.followed(runs.Study({}, None, tuple(rest), ()))[0].percent == 0


def test_curves_hold_the_share_fitted_and_dev(study):
    table = curves.by_epoch(curves.followed(study))
    counts = planted.mixture(400, 50)
    fitted = planted.fit_counts(counts, 3)
    for name in planted.CATEGORIES:
        here = table[(table["curve"] == name) & (table["epoch"] == 3)]["accuracy"]
        assert here.tolist() == pytest.approx([fitted[name] / counts[name] * 100])
    assert table[table["curve"] == "dev"]["epoch"].tolist() == list(range(1, 31))


def test_budgets_are_epochs_that_every_mixture_evaluated(tmp_path):
    for percent, test in ((0, DEMO_TEST), (50, (2, 4, 6, 8, 30)), (100, DEMO_TEST)):
        planted.write_run(tmp_path, f"unknown_{percent}", planted.mixture(400, percent), epochs=30, test=test)
    study = runs.read_study(tmp_path)
    budgets = curves.common_budgets(study, "test")
    assert set(budgets) <= {2, 4, 6, 8, 30} and budgets[0] == 2 and budgets[-1] == 30
    table = curves.by_budget(study, "test")
    assert table["accuracy"].notna().all()
    assert set(table["budget"]) == {"EARLY_STOP", *map(str, budgets)}
    early = table[(table["budget"] == "EARLY_STOP") & (table["percent_unknown"] == 50)]
    assert early["epoch"].tolist() == [6]


def test_there_are_no_more_budgets_than_can_be_told_apart(study):
    assert len(curves.common_budgets(study, "test")) == curves.MOST_BUDGETS


def test_ablation_compares_at_the_same_share_and_starts_where_the_two_are_one(study):
    table = curves.ablation(study, "test").set_index(["stop", "data", "percent_unknown"])["accuracy"].to_dict()
    known = next(run for run in study.runs if run.variant == "known_only_50")
    assert table["CONVERGENCE", "D_Known", 50] == known.accuracy_at(30, "test")
    assert table["EARLY_STOP", "D_Known", 0] == table["EARLY_STOP", "D", 0]
    assert ("EARLY_STOP", "D_Known", 100) not in table


def test_shares_fitted_at_early_stop_add_up_to_all_of_d(study):
    table = curves.fitted_at_early_stop(study)
    totals = table.groupby("percent_unknown")[["fitted", "not_fitted"]].sum().sum(axis=1)
    assert totals.tolist() == pytest.approx([100, 100, 100])
    fitted = planted.fit_counts(planted.mixture(400, 50), 6)["Unknown"]
    row = table[(table["percent_unknown"] == 50) & (table["group"] == "Unknown")].iloc[0]
    assert (row["epoch"], row["fitted"]) == (6, pytest.approx(fitted / 400 * 100))


def test_epoch_to_fit_is_the_first_evaluated_epoch(tmp_path):
    planted.write_run(tmp_path, "unknown_50", planted.mixture(400, 50), epochs=30, train=(1, 5, 10, 25, 30))
    run = runs.read_study(tmp_path).runs[0]
    # 1 - exp(-0.12 e) reaches 0.9 at e = 19.2; the next evaluated epoch is 25.
    assert curves.epoch_to_fit(run, "Unknown", 90) == 25
    assert curves.epoch_to_fit(run, "Unknown", 50) == 10  # e = 5.8
    assert curves.epoch_to_fit(run, "Known", 90) == 5
    assert curves.epoch_to_fit(run, "Unknown", 99) is None
