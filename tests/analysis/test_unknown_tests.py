"""F5 against subsets written out, thresholds counted by hand, and AUROC as the Mann-Whitney statistic."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from slick_jax.analysis import evidence, runs, unknown_tests
from slick_jax.analysis.bootstrap import Resampler
from slick_jax.analysis.unknown_tests import unknown_chance
from tests.analysis import planted, whole_study

RNG = np.random.default_rng(0)
N = 80


@pytest.fixture(scope="module")
def one():
    """Two seeds, noisy scores with ties, sets of which some have a right answer."""
    hits = RNG.random((2, N)) < np.linspace(0.05, 0.9, N)
    table = pd.DataFrame({
        "hit_sets": np.clip(np.arange(N) // 12 + RNG.integers(-1, 2, N), 0, 5), "n_sets": 5,
        "p_true": (np.linspace(0, 1, N) + RNG.normal(0, 0.2, N)).round(1), "p_correct_exact": np.linspace(0, 1, N),
    })  # fmt: skip
    return unknown_tests.Tested(table, hits, (0, 1), Resampler(N, draws=200))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_chance_to_be_unknown_is_counted_over_all_choices_of_sets(n):
    for hit in range(6):
        right = [place < hit for place in range(5)]
        chosen = [not any(some) for some in itertools.combinations(right, n)]
        assert unknown_chance(np.array([hit]), np.array([5]), n)[0] == pytest.approx(np.mean(chosen))


def test_all_sets_are_the_unknown_category_itself(one):
    share, right = one.slick(5)
    unknown = (one.table["hit_sets"] == 0).to_numpy()
    assert share.value == pytest.approx(100 * unknown.mean())
    assert right.value == pytest.approx(100 * one.hits[:, unknown].mean())
    assert right.low <= right.value <= right.high


def test_fewer_sets_call_more_unknown(one):
    shares = [one.slick(n)[0].value for n in range(1, 6)]
    assert shares == sorted(shares, reverse=True)


def test_every_threshold_counts_what_scores_below_it(one):
    table = one.below("p_true")
    assert len(table) == one.table["p_true"].nunique()
    for row in table.itertuples():
        below = (one.table["p_true"] < row.threshold).to_numpy()
        assert row.share == pytest.approx(100 * below.mean())
        assert row.accuracy == pytest.approx(100 * one.hits[:, below].mean())
        assert row.low <= row.high
    assert table["share"].iloc[-1] == 100 and np.isinf(table["threshold"].iloc[-1])


def test_intervals_of_a_threshold_equal_those_of_its_questions(one):
    table = one.below("p_true")
    row = table.iloc[len(table) // 2]
    below = (one.table["p_true"] < row["threshold"]).to_numpy()
    weights = one.resampler.of_seeds((0, 1))
    draws = [
        100 * sum(v * (w * one.hits[s] * below).sum() for s, v in enumerate(of)) / (w * below).sum()
        for w, of in zip(one.resampler.weights, weights, strict=True)
    ]
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(draws, [0.025, 0.975]), rel=1e-4)


def test_at_an_equal_share_a_tie_counts_in_part():
    table = pd.DataFrame({"p_true": [0.1, 0.5, 0.5, 0.9]})
    tied = unknown_tests.Tested(table, np.array([[0, 1, 0, 1]], bool), (0,), Resampler(4, draws=20))
    half = tied.called(np.array([1.0, 1.0, 0.0, 0.0]))[0]
    # The lowest one is wrong; of the two tied ones half are right, and one of them is among the lowest half.
    assert tied.below_at("p_true", half).value == pytest.approx(100 * 0.5 / 2)


def test_below_at_the_share_of_a_threshold_is_that_threshold(one):
    row = one.below("p_true").iloc[4]
    chance = (one.table["p_true"] < row["threshold"]).to_numpy(float)
    share, right = one.called(chance)
    same = one.below_at("p_true", share)
    assert same.value == pytest.approx(row["accuracy"]) == pytest.approx(right.value)
    assert (right - same).low <= 0 <= (right - same).high


@pytest.mark.parametrize("score", ["p_true", "p_correct_exact"])
def test_auroc_is_the_mann_whitney_statistic(one, score):
    values = one.table[score].to_numpy()
    by_hand = []
    for hits in one.hits:
        u = stats.mannwhitneyu(values[hits], values[~hits]).statistic
        by_hand.append(u / (hits.sum() * (~hits).sum()))
    found = one.auroc(score)
    assert found.value == pytest.approx(100 * np.mean(by_hand)) and found.low < found.value < found.high
    # A draw is the statistic of the resampled questions.
    weights = one.resampler.of_seeds((0, 1))[0]
    chosen = np.repeat(np.arange(N), one.resampler.weights[0].astype(int))
    drawn = [
        stats.mannwhitneyu(values[chosen][h[chosen]], values[chosen][~h[chosen]]).statistic
        / (h[chosen].sum() * (~h[chosen]).sum())
        for h in one.hits
    ]
    assert found.draws[0] == pytest.approx(100 * (weights * drawn).sum(), rel=1e-4)


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    folder = whole_study.write(tmp_path_factory.mktemp("study"), seeds=(0,))
    return evidence.gather(runs.read_study(folder))


def test_a_model_that_knows_all_but_the_unknown_makes_slick_exact(gathered):
    """D_Natural is planted right on all Known and wrong on all Unknown questions."""
    one, missing = unknown_tests.tested(gathered, "EARLY_STOP")
    assert missing == []
    table = unknown_tests.figure_five(one)
    slick = table[table["method"] == "SliCK"].set_index("setting")
    assert slick.loc[5, ["share", "accuracy"]].tolist() == [25.0, 0.0]
    assert slick["accuracy"].is_monotonic_decreasing and slick["share"].is_monotonic_decreasing
    assert slick.loc[1, "accuracy"] > 20
    p_true = table[table["method"] == "P(True)"]
    assert p_true["accuracy"].iloc[-1] == pytest.approx(75) and p_true["share"].iloc[-1] == 100
    auroc = unknown_tests.ranking(one).set_index("measure")["auroc"]
    assert auroc["P_Correct, sampled"] == 100 and 50 < auroc["P(True)"] < 100


def test_what_annotation_did_not_measure_is_named(gathered):
    table = gathered.study.annotations
    bare = table.drop(columns=["hit_sets", "n_sets", "p_true"])
    study = runs.Study(gathered.study.manifest, bare, gathered.study.runs, ())
    one, missing = unknown_tests.tested(evidence.gather(study), "EARLY_STOP")
    assert ["annotate.mode='full'" in missing[0], "annotate.p_true=True" in missing[1]] == [True, True]
    assert unknown_tests.figure_five(one).empty and len(unknown_tests.ranking(one)) == 3


def test_without_a_natural_run_f5_says_so(tmp_path):
    planted.write_study(tmp_path, percents=(0,), known_only=(), epochs=8)
    one, missing = unknown_tests.tested(evidence.gather(runs.read_study(tmp_path)), "EARLY_STOP")
    assert one is None and "needs a finished run of natural" in missing[0]
