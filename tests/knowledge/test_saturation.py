"""Saturation curves against counting question by question."""

import numpy as np
import pytest

from slick_jax.categories import CATEGORIES
from slick_jax.errors import InputError
from slick_jax.knowledge.estimate import category
from slick_jax.knowledge.saturation import saturation

RNG = np.random.default_rng(0)
CHANCE = RNG.random((60, 1, 1)) ** 2
GREEDY = RNG.random((60, 5)) < CHANCE[:, :, 0]
SAMPLED = RNG.random((60, 5, 4)) < CHANCE


def test_every_cell_is_the_category_rule_on_the_first_sets_and_samples():
    found = saturation(GREEDY.tolist(), SAMPLED.tolist())
    assert len(found) == 5 * 5
    for row in found.to_dict("records"):
        sets, samples = row["n_exemplar_sets"], row["n_samples"]
        labels = [category(g[:sets], s[:sets, :samples]) for g, s in zip(GREEDY, SAMPLED, strict=True)]
        for name in CATEGORIES:
            assert row[name] == pytest.approx(100 * labels.count(name) / 60)


def test_more_draws_can_only_make_fewer_unknown():
    table = saturation(GREEDY, SAMPLED).pivot(index="n_exemplar_sets", columns="n_samples", values="Unknown")
    assert (np.diff(table.to_numpy(), axis=0) <= 1e-9).all() and (np.diff(table.to_numpy(), axis=1) <= 1e-9).all()


def test_questions_without_samples_are_refused():
    with pytest.raises(InputError, match="annotate.mode='full'"):
        saturation([[True]], [None])
