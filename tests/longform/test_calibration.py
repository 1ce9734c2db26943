"""Calibration equals scikit-learn's sigmoid and isotonic maps, and never turns a score upside down."""


import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression

from slick_jax.errors import InputError
from slick_jax.longform import calibration


def drawn(n, seed=0, scale=3.0):
    rng = np.random.default_rng(seed)
    plain = rng.normal(size=n)
    return scale * plain - 1, rng.random(n) < expit(1.5 * plain + 0.5)


@pytest.mark.parametrize("scale", [0.01, 3.0, 50.0])
def test_platt_is_that_of_scikit_learn(scale):
    score, label = drawn(200, scale=scale)
    slope, offset = _sigmoid_calibration(score, label)  # of 1 / (1 + exp(slope * score + offset))
    found = calibration.fit(score, label).belief(score)
    np.testing.assert_allclose(found, expit(-slope * score - offset), atol=2e-4)


def test_platt_finds_the_map_that_made_the_labels():
    score, label = drawn(20_000)
    fitted = calibration.fit(score, label)
    np.testing.assert_allclose((fitted.first[0], fitted.second[0]), (1.5 / 3, 0.5 + 1.5 / 3), atol=0.06)
    assert (np.diff(fitted.belief(np.sort(score))) > 0).all()


def test_claims_told_apart_without_a_mistake_keep_a_finite_slope():
    fitted = calibration.fit([-2.0, -1.0, 1.0, 2.0], [False, False, True, True])
    low, high = fitted.belief(np.array([-1.5, 1.5]))
    assert 0.2 < low < 0.3 and 0.7 < high < 0.8  # Platt's targets are 1/4 and 3/4


def test_isotonic_is_that_of_scikit_learn():
    score, label = drawn(150)
    wanted = IsotonicRegression(out_of_bounds="clip").fit(score, label)
    points = np.linspace(-12, 12, 101)
    np.testing.assert_allclose(calibration.fit(score, label, "isotonic").belief(points), wanted.predict(points))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_score_that_misleads_says_nothing(method):
    score, label = drawn(300)
    misled = calibration.fit(-score, label, method)
    assert not misled.informative and calibration.fit(score, label, method).informative
    np.testing.assert_allclose(misled.belief(score), label.mean(), atol=0.01)


def test_one_kind_of_claims_cannot_calibrate():
    with pytest.raises(InputError, match="probe: all 3 claims of split dev are supported"):
        calibration.fit([0.1, 0.2, 0.3], [True] * 3, what="probe")
