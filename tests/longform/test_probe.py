"""The probe finds a planted direction at its layer, equals scikit-learn's pipeline, and sees its own split alone."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from slick_jax.errors import InputError
from slick_jax.longform import probe
from tests.longform.believers import ENTITIES, told

N, D, PLANTED = 400, 12, 2
TRAIN, DEV = np.arange(250), np.arange(250, N)


@pytest.fixture(scope="module")
def planted():
    """States of four layers, of which one holds the truth along a direction, and two a weaker trace of it."""
    rng = np.random.default_rng(0)
    label = rng.random(N) < 0.25
    states = rng.normal(size=(4, N, D)) * rng.uniform(0.01, 100, D) + 5
    direction = rng.normal(size=D) * states[PLANTED].std(axis=0)
    for layer, strength in ((1, 0.2), (PLANTED, 1.0), (3, 0.2)):
        states[layer] += strength * np.where(label, 1, -1)[:, None] * direction
    states[:, :, 5] = 3.0  # a feature that never changes
    return states.astype(np.float32), label


def test_a_planted_direction_is_found_at_its_layer(planted):
    states, label = planted
    fitted = probe.fit(states, label, TRAIN, DEV)
    assert fitted.layer == PLANTED and fitted.dev_auroc[PLANTED] > 0.97 and fitted.dev_auroc[0] < 0.6
    assert fitted.dev_auroc[PLANTED] == pytest.approx(roc_auc_score(label[DEV], fitted.score(states[PLANTED][DEV])))
    only = probe.fit(states, label, TRAIN, DEV, layers=[0, 1])
    assert only.layer == 1 and np.isnan(only.dev_auroc[2:]).all()


def test_scores_are_those_of_the_pipeline_of_scikit_learn(planted):
    states, label = planted
    fitted = probe.fit(states, label, TRAIN, DEV, strengths=(0.1,))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=3000))
    theirs.fit(states[PLANTED][TRAIN].astype(np.float64), label[TRAIN])
    np.testing.assert_allclose(
        fitted.score(states[PLANTED]), theirs.decision_function(states[PLANTED].astype(np.float64)), atol=1e-6
    )


def test_the_strength_is_chosen_on_dev(planted):
    states, label = planted
    each = {c: max(probe.fit(states, label, TRAIN, DEV, strengths=(c,)).dev_auroc) for c in (1e-6, 0.1)}
    both = probe.fit(states, label, TRAIN, DEV, strengths=tuple(each))
    assert max(both.dev_auroc) == max(each.values()) and both.strength == max(each, key=each.get)


def test_a_probe_is_kept_without_pickle(planted, tmp_path):
    states, label = planted
    fitted = probe.fit(states, label, TRAIN, DEV, layers=[2, 3])
    fitted.write(tmp_path / "probe.safetensors")
    again = probe.Probe.read(tmp_path / "probe.safetensors")
    np.testing.assert_array_equal(again.score(states[2]), fitted.score(states[2]))
    assert (again.layer, again.strength, again.bias) == (fitted.layer, fitted.strength, fitted.bias)
    np.testing.assert_array_equal(again.dev_auroc, fitted.dev_auroc)
    (tmp_path / "probe.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="not a probe .*remove it"):
        probe.Probe.read(tmp_path / "probe.safetensors")


def test_one_kind_of_claims_is_refused_for_both_splits_together(planted):
    states, _ = planted
    with pytest.raises(InputError) as error:
        probe.fit(states, np.arange(N) < 250, TRAIN, DEV)
    assert "split probe: all 250 claims are supported" in str(error.value)
    assert "split dev: all 150 claims are unsupported" in str(error.value)


def test_entities_that_leak_and_texts_of_others_are_named_together():
    texts, claims, _ = told(("A", "Bo"))
    probe.check_split(claims, "probe", ENTITIES, texts)
    gold, of_gold, _ = told(("Bo",), source="gold")
    _, others, _ = told(("Ed", "Flo"))
    texts |= gold | {claim.text: dataclasses.replace(texts["A/generated/0"], id=claim.text) for claim in others}
    with pytest.raises(InputError) as error:
        probe.check_split([*claims, *of_gold, *others], "probe", ENTITIES, texts)
    assert "('Ed' of train, 'Flo' of test)" in str(error.value)
    assert "1 texts (Bo/gold/0) are not the un-tuned model's own" in str(error.value)
