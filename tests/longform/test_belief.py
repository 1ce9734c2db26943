"""From claims to the table of beliefs: one reading gives two scores, and the probe never sees another split."""

import dataclasses

import numpy as np
import pytest

from slick_jax.errors import InputError
from slick_jax.longform import belief
from slick_jax.longform.belief import OwnReading
from slick_jax.longform.calibration import Calibration
from slick_jax.longform.contexts import check_form
from slick_jax.longform.records import BELIEFS
from tests.longform.believers import ENTITIES, reader, told

TEXTS, CLAIMS, LABELS = told()
# what this model believes: whatever ends in an exclamation mark
CLAIMS = [dataclasses.replace(c, claim=c.claim[:-1] + "?!"[y]) for c, y in zip(CLAIMS, LABELS.astype(int), strict=True)]


def of(*splits):
    places = [i for i, claim in enumerate(CLAIMS) if ENTITIES[claim.entity].split in splits]
    return [CLAIMS[i] for i in places], LABELS[places]


@pytest.fixture(scope="module")
def model():
    return reader()


@pytest.fixture(scope="module")
def fitted(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    return belief.train_probe(model, of("probe"), of("dev"), ENTITIES, TEXTS, folder, {})


def test_the_probe_tells_claims_of_entities_it_never_saw(model, fitted):
    claims, labels = of("test", "train")
    scorer = OwnReading(model, fitted=fitted)
    raw = belief.raw_scores([scorer], claims, ENTITIES)
    assert list(raw) == ["logprob", "probe"]
    assert raw["probe"][labels].min() > raw["probe"][~labels].max()
    assert fitted.layer == 0 and fitted.dev_auroc[0] == 1  # the embedding of the last token tells it already
    np.testing.assert_allclose(OwnReading(model).score(claims, ENTITIES)[0], raw["logprob"], atol=1e-6)


def test_parts_and_repeated_claims_score_the_same(model, fitted):
    scorer = OwnReading(model, fitted=fitted)
    whole = scorer.score(CLAIMS, ENTITIES)
    parts = [scorer.score(CLAIMS[at : at + 11], ENTITIES) for at in range(0, len(CLAIMS), 11)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    again = [dataclasses.replace(CLAIMS[i % 3], id=str(i)) for i in range(9)]
    np.testing.assert_array_equal(scorer.score(again, ENTITIES)[:, :3], scorer.score(again, ENTITIES)[:, 6:])


def test_leaks_are_refused_before_anything_is_read(model, tmp_path):
    with pytest.raises(InputError, match="split probe: .*'Ed' of train"):
        belief.train_probe(model, of("probe", "train"), of("dev"), ENTITIES, TEXTS, tmp_path, {})
    with pytest.raises(InputError, match="split dev: .*'Flo' of test"):
        belief.train_probe(model, of("probe"), of("dev", "test"), ENTITIES, TEXTS, tmp_path, {})
    with pytest.raises(InputError, match="split dev: all 14 claims are supported"):
        belief.train_probe(model, of("probe"), (of("dev")[0], [True] * 14), ENTITIES, TEXTS, tmp_path, {})
    assert not list(tmp_path.iterdir())
    claims, labels = of("dev", "test")
    with pytest.raises(InputError, match="split dev: .*'Flo' of test"):
        belief.calibrate({"logprob": np.zeros(len(claims))}, claims, labels, ENTITIES, TEXTS)


def test_of_many_claims_a_seeded_share_is_looked_at(model, tmp_path):
    kept = belief.train_probe(model, of("probe"), of("dev"), ENTITIES, TEXTS, tmp_path, {}, most=10)
    assert np.load(tmp_path / "states.npy", mmap_mode="r").shape == (3, 20, 16)
    np.testing.assert_array_equal(belief._some(50, 10, 0), belief._some(50, 10, 0))
    assert len(set(belief._some(50, 10, 0))) == 10 and kept.weights.shape == (16,)


def test_the_table_of_beliefs():
    raw = {"logprob": np.array([-1.0, -2.0]), "probe": np.array([0.0, 3.0])}
    maps = {"logprob": Calibration("isotonic", (-2.0, -1.0), (0.2, 0.6)), "probe": Calibration("platt", (1.0,), (0.0,))}
    table = belief.beliefs(CLAIMS[:2], raw, maps)
    assert table.schema == BELIEFS
    assert table["claim_id"].to_pylist() == [claim.id for claim in CLAIMS[:2]] * 2
    assert table["scorer"].to_pylist() == ["logprob"] * 2 + ["probe"] * 2
    np.testing.assert_allclose(table["belief"], [0.6, 0.2, 0.5, 1 / (1 + np.exp(-3))])


@pytest.mark.parametrize(
    ("form", "claim", "wrong"),
    [("{who}\n", False, "unknown fields"), ("{claim}", False, "must not hold"), ("{prompt}", True, "must hold"),
     ("{prompt", False, "write braces"), ("{}", False, "unknown fields")],
)  # fmt: skip
def test_forms_with_other_fields_are_refused(form, claim, wrong):
    with pytest.raises(InputError, match=f"longform.context=.*{wrong}"):
        check_form(form, "longform.context", claim)
    check_form("{{so}} {name}: {prompt}", "longform.context", False)
