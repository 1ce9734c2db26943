"""Fitting through the epochs against counts by hand and resampling written as loops."""

import dataclasses

import numpy as np
import pytest

from slick_jax.analysis import curves, fitting, runs
from tests.analysis import planted


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    planted.write_study(folder, percents=(0, 50), known_only=(), size=80, epochs=30, seeds=(0, 1))
    return runs.read_study(folder, seeds=(0, 1))


@pytest.fixture(scope="module")
def half(study):
    return [run for run in study.runs if run.percent == 50]


@pytest.mark.parametrize("percent", [50, 90])
@pytest.mark.parametrize("group", ["Known", "Unknown"])
def test_epoch_to_fit_is_the_mean_over_seeds_of_the_runs_own(half, group, percent):
    found = fitting.Fitting(half).epoch_to_fit(group, percent)
    assert found.value == pytest.approx(np.mean([curves.epoch_to_fit(run, group, percent) for run in half]))
    assert found.low <= found.value <= found.high and found.n_seeds == 2


def test_draws_are_the_first_epochs_of_resampled_examples(half):
    one = fitting.Fitting(half)
    found, weights = one.epoch_to_fit("Unknown", 50), one._resampler.of_seeds((0, 1))
    unknown = np.flatnonzero(one.group == "Unknown")
    for draw in range(20):
        times = one._resampler.weights[draw].astype(int)
        chosen = [place for place in unknown for _ in range(times[place])]
        by_seed = [
            next(e for i, e in enumerate(one.epochs) if np.mean([fitted[place, i] for place in chosen]) >= 0.5)
            for fitted in one.fitted
        ]
        assert found.draws[draw] == pytest.approx(np.dot(weights[draw], by_seed))


def test_what_is_never_fitted_counts_as_the_epoch_behind_the_last(half):
    early = [dataclasses.replace(run, examples=run.examples[run.examples["epoch"] <= 8]) for run in half]
    found = fitting.Fitting(early).epoch_to_fit("Unknown", 90)
    assert (found.value, found.low, found.high) == (9, 9, 9)


def test_a_kind_that_is_not_there_has_no_epoch(study):
    assert fitting.Fitting([run for run in study.runs if run.percent == 0]).epoch_to_fit("Unknown", 50) is None


def test_curves_are_the_shares_of_the_files_within_their_intervals(half):
    table = fitting.Fitting(half).curves().set_index(["curve", "epoch"])
    for epoch in (1, 7, 30):
        for category, n in planted.mixture(80, 50).items():
            shares = [100 * planted.fit_counts({category: n}, epoch, seed)[category] / n for seed in (0, 1)]
            row = table.loc[(category, epoch)]
            assert row["accuracy"] == pytest.approx(np.mean(shares))
            assert row["low"] <= row["accuracy"] <= row["high"]
    wide = table.loc[("Unknown", 6)]
    assert wide["high"] - wide["low"] == pytest.approx(4 * 100 * np.sqrt(0.25 / 40), rel=0.25)


def test_shares_at_early_stop_are_those_of_f4(study):
    table = fitting.fitted_shares(study.mixtures).set_index(["percent_unknown", "group"])
    means = curves.fitted_at_early_stop(study).groupby(["percent_unknown", "group"])["fitted"].mean()
    assert means.index.tolist() == table.index.tolist()
    for key, row in table.iterrows():
        assert row["fitted"] == pytest.approx(means[key])
        assert row["low"] <= row["fitted"] <= row["high"] <= (50 if key[0] == 50 else 100)


def test_a_mixture_that_was_not_asked_at_early_stop_has_no_share(study):
    cut = [dataclasses.replace(run, examples=run.examples[run.examples["epoch"] != 6]) for run in study.mixtures]
    assert fitting.fitted_shares(cut).empty
