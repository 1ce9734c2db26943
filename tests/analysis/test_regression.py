"""T1: planted coefficients come back, and it is the fitted examples that are counted."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from slick_jax.analysis import regression, runs
from tests.analysis import planted

TRUE = {"test": (36.9, 7.3, -8.3), "ood_test": (36.2, 3.2, -3.0)}  # points, the paper's own


def scores_by_fitted(epoch, fitted, size):
    """Accuracies that follow the coefficients exactly in the examples fitted."""
    unknown = fitted.get("Unknown", 0) / size
    known = sum(fitted.values()) / size - unknown
    found = {split: (b0 + kn * known + unk * unknown) / 100 for split, (b0, kn, unk) in TRUE.items()}
    return {**found, "dev": 0.4 - abs(epoch - 6) / 100}


@pytest.fixture
def study(tmp_path):
    """Five mixtures and two seeds; test is not evaluated at every epoch, train not at the same ones."""
    options = {"epochs": 20, "test": (*range(1, 13), 16, 20), "train": (*range(1, 15), 20), "scores": scores_by_fitted}
    planted.write_study(tmp_path, seeds=(0, 1), **options)
    return runs.read_study(tmp_path, seeds=(0, 1))


@pytest.mark.parametrize("split", TRUE)
def test_planted_coefficients_come_back(study, split):
    found = regression.fit(regression.rows(study, split))
    assert [found[name] for name in ("b0", "b_kn", "b_unk")] == pytest.approx(TRUE[split], abs=1e-6)
    assert found["r2"] == pytest.approx(1.0)
    assert found["n_runs"] == 10
    assert found["n_rows"] == 10 * 13  # epochs 1 to 12 and 20: both train and test were evaluated


def test_counts_of_the_mixture_would_give_other_coefficients(study):
    table = regression.rows(study, "test")
    mixed = table["variant"].str.removeprefix("unknown_").astype(int) / 100
    wrong = pd.DataFrame({"known": 1 - mixed, "unknown": mixed})
    assert not np.allclose(table[["known", "unknown"]], wrong, atol=0.05)
    # Those counts add up to 1 in every row, so they could not even be told from the constant.
    assert regression.fit(table.assign(**wrong)) is None
    # One run's counts of the mixture never change; the fitted ones grow with the epochs.
    one = table.query("variant == 'unknown_50' and seed == 0").sort_values("epoch")
    assert one["unknown"].is_monotonic_increasing and one["unknown"].iloc[0] < 0.1 < one["unknown"].iloc[-1]


def test_only_the_mixtures_of_fixed_size_are_rows(study):
    assert set(regression.rows(study, "test")["variant"]) == {f"unknown_{x}" for x in (0, 25, 50, 75, 100)}


def test_fit_equals_the_formula_interface_and_normal_equations_on_noisy_rows():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(0, 1, (40, 2)), columns=["known", "unknown"])
    table["accuracy"] = 30 + 5 * table["known"] - 9 * table["unknown"] + rng.normal(0, 1, 40)
    table["variant"], table["seed"] = ["unknown_0", "unknown_50"] * 20, np.arange(40) % 4
    found = regression.fit(table)
    other = smf.ols("accuracy ~ known + unknown", table).fit()
    assert [found["b0"], found["b_kn"], found["b_unk"]] == pytest.approx(other.params.tolist())
    assert found["r2"] == pytest.approx(other.rsquared)
    assert found["n_runs"] == 4
    design = np.column_stack([np.ones(40), table["known"], table["unknown"]])
    solved = np.linalg.solve(design.T @ design, design.T @ table["accuracy"])
    assert [found["b0"], found["b_kn"], found["b_unk"]] == pytest.approx(solved)


def noisy(n_runs, seed=0):
    """Rows of runs that each have an error of their own, shared by its epochs."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.uniform(0, 1, (12 * n_runs, 2)), columns=["known", "unknown"])
    run = np.repeat(np.arange(n_runs), 12)
    error = rng.normal(0, 2, n_runs)[run] + rng.normal(0, 0.5, len(run))
    table["accuracy"] = 30 + 5 * table["known"] - 9 * table["unknown"] + error
    return table.assign(variant=[f"unknown_{x % 5}" for x in run], seed=run // 5), run


def test_errors_are_clustered_by_run_with_the_sandwich_written_out():
    table, run = noisy(15)
    found = regression.fit(table)
    x = np.column_stack([np.ones(len(table)), table["known"], table["unknown"]])
    solved = np.linalg.solve(x.T @ x, x.T @ table["accuracy"])
    residuals = table["accuracy"].to_numpy() - x @ solved
    scores = np.stack([x[run == r].T @ residuals[run == r] for r in range(15)])
    bread = np.linalg.inv(x.T @ x)
    few = 15 / 14 * (len(table) - 1) / (len(table) - 3)
    errors = np.sqrt(np.diag(few * bread @ (scores.T @ scores) @ bread))
    names = ("b0", "b_kn", "b_unk")
    assert [found[f"{name}_se"] for name in names] == pytest.approx(errors)
    half = stats.t.ppf(0.975, 14) * errors
    assert [found[f"{name}_low"] for name in names] == pytest.approx(solved - half)
    assert [found[f"{name}_high"] for name in names] == pytest.approx(solved + half)
    plain = smf.ols("accuracy ~ known + unknown", table).fit()
    assert found["r2"] == pytest.approx(plain.rsquared)
    assert found["b0_se"] > 1.3 * plain.bse["Intercept"]  # as the epochs of a run are not independent


def test_intervals_hold_the_true_coefficient_about_as_often_as_they_say():
    held = [found["b_unk_low"] <= -9 <= found["b_unk_high"] for found in
            (regression.fit(noisy(15, seed)[0]) for seed in range(200))]  # fmt: skip
    assert 0.90 <= np.mean(held) <= 0.99


def test_over_very_few_runs_there_is_no_interval():
    table, _ = noisy(5)
    found = regression.fit(table)
    assert np.isfinite(found["b_unk"]) and np.isnan([found["b_unk_se"], found["b_unk_low"], found["b_unk_high"]]).all()
    assert np.isfinite(regression.fit(noisy(6)[0])["b_unk_low"])


def test_rows_are_the_fit_table_over_d_counted_by_hand(tmp_path):
    frame = planted.write_run(tmp_path, "unknown_25", planted.mixture(80, 25), epochs=5)
    table = regression.rows(runs.read_study(tmp_path), "test").set_index("epoch")
    by_hand = frame.assign(group=np.where(frame["category"] == "Unknown", "unknown", "known"))
    by_hand = by_hand.pivot_table(index="epoch", columns="group", values="fitted", aggfunc="sum") / 80
    pd.testing.assert_frame_equal(table[["known", "unknown"]], by_hand, check_names=False, check_index_type=False)


@pytest.mark.parametrize("percents", [(0,), (50,), ()])
def test_less_than_two_mixtures_cannot_tell(tmp_path, percents):
    planted.write_study(tmp_path, percents=percents, known_only=(25,), epochs=6)
    table, missing = regression.table_one(runs.read_study(tmp_path))
    assert table.empty
    assert [line.split(":")[0] for line in missing] == ["T1 for test", "T1 for ood_test"]


def test_table_one_sets_the_published_values_beside(study):
    table, missing = regression.table_one(study)
    assert missing == []
    row = table.set_index("split").loc["ood_test"]
    assert row[["paper_b0", "paper_b_kn", "paper_b_unk", "paper_r2"]].tolist() == [36.2, 3.2, -3.0, 0.95]
    assert row["b_unk"] == pytest.approx(-3.0, abs=1e-6)
