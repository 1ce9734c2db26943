"""Measures of belief equal scikit-learn's and sums by hand; intervals resample whole entities."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from slick_jax.longform import measures
from slick_jax.longform.measures import Sample


def scored(n, seed, ties):
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.4
    score = rng.normal(size=n) + label
    return np.round(score * 2) / 2 if ties else score, label


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ranking_and_brier_are_those_of_scikit_learn_with_weights(seed, ties):
    score, label = scored(83, seed, ties)
    belief = 1 / (1 + np.exp(-score))
    weights = np.random.default_rng(9).integers(0, 4, (5, 83)).astype(float)
    weights[0] = 1
    given = measures.auroc(score, label, weights)
    precision = measures.average_precision(score, label, weights)
    brier = measures.brier(belief, label, weights)
    for row, *found in zip(weights, given, precision, brier, strict=True):
        by_sklearn = [roc_auc_score, average_precision_score, brier_score_loss]
        expected = [
            measure(label, x, sample_weight=row) for measure, x in zip(by_sklearn, (score, score, belief), strict=True)
        ]
        np.testing.assert_allclose(found, expected, atol=1e-12)


BELIEF = np.array([0.05, 0.15, 0.15, 0.55, 0.95, 1.0])
LABEL = np.array([False, False, True, True, True, False])


def test_calibration_error_by_hand():
    one = np.ones((1, 6))
    # bins of ten: {0.05}: 0.05 - 0; {0.15, 0.15}: 0.30 - 1; {0.55}: 0.55 - 1; {0.95, 1.0}: 1.95 - 1
    np.testing.assert_allclose(measures.ece(BELIEF, LABEL, one), (0.05 + 0.7 + 0.45 + 0.95) / 6)
    # bins of two: {0.05, 0.15, 0.15}: 0.35 - 1; {0.55, 0.95, 1.0}: 2.5 - 2
    np.testing.assert_allclose(measures.ece(BELIEF, LABEL, one, bins=2), (0.65 + 0.5) / 6)
    twice = measures.ece(np.r_[BELIEF, BELIEF[:2]], np.r_[LABEL, LABEL[:2]], np.ones((1, 8)))
    np.testing.assert_allclose(measures.ece(BELIEF, LABEL, np.array([[2.0, 2, 1, 1, 1, 1]])), twice)


def test_the_table_and_reliability_by_hand():
    sample = Sample(BELIEF, BELIEF, LABEL, list("aabbcc"), draws=50)
    found = {name: one.value for name, one in sample.estimates(threshold=0.55).items()}
    assert found["supported_believed"] == 2 / 6 and found["supported_disbelieved"] == 1 / 6
    assert found["unsupported_believed"] == 1 / 6 and found["unsupported_disbelieved"] == 2 / 6
    assert found["precision_of_believed"] == pytest.approx(2 / 3)
    assert found["believed_of_supported"] == pytest.approx(2 / 3)
    assert found["believed"] == found["supported"] == 0.5
    rows = sample.reliability()
    assert [row["claims"] for row in rows] == [1, 2, 0, 0, 0, 1, 0, 0, 0, 2]
    assert [row["precision"].value for row in rows if row["claims"]] == [0, 0.5, 1, 0.5]
    assert rows[1]["belief"] == pytest.approx(0.15) and np.isnan(rows[2]["precision"].value)


def test_draws_are_of_entities_and_the_interval_is_theirs():
    score, label = scored(40, 0, False)
    entity = [f"e{i % 8}" for i in range(40)]
    sample = Sample(score, 1 / (1 + np.exp(-score)), label, entity, draws=300, seed=3)
    found = sample.estimates()["auroc"]
    counts = sample._resampler.weights
    assert counts.shape == (300, 8) and (counts.sum(axis=1) == 8).all()
    for draw in (0, 7, 299):  # the claims of the drawn entities, written out as often as these were drawn
        rows = np.repeat(np.arange(40), counts[draw][[int(name[1:]) for name in entity]].astype(int))
        assert found.draws[draw] == pytest.approx(roc_auc_score(label[rows], score[rows]))
    assert found.interval == tuple(np.quantile(found.draws, [0.025, 0.975]))
    assert found.low < found.value < found.high


def test_the_interval_grows_with_claims_that_stand_or_fall_together():
    rng = np.random.default_rng(0)
    of_entity = rng.random(60) < 0.5
    label, belief = np.repeat(of_entity, 20), np.full(1200, 0.5)
    together = Sample(belief, belief, label, np.repeat(np.arange(60), 20).astype(str), draws=500).estimates()
    apart = Sample(belief, belief, label, np.arange(1200).astype(str), draws=500).estimates()
    width = {name: one["supported"].high - one["supported"].low for name, one in (("t", together), ("a", apart))}
    assert width["t"] / width["a"] == pytest.approx(np.sqrt(20), rel=0.15)


def test_nothing_to_measure_is_nan_and_not_zero():
    empty = Sample(np.zeros(0), np.zeros(0), np.zeros(0, bool), [], draws=10).estimates()
    assert all(np.isnan(one.value) for one in empty.values())
    one_kind = Sample(np.ones(3), np.ones(3), np.ones(3, bool), list("abc"), draws=10).estimates()
    assert np.isnan(one_kind["auroc"].value) and one_kind["brier"].value == 0
