"""Runs are pooled when they differ in variant and seed alone."""

import pytest

from slick_jax.analysis.comparable import UNRECORDED, set_apart


def recorded(seed=0, mixture="a" * 64, **train):
    return {"train": {"seed": seed, "peak_lr": 1e-5, **train}, "dtype": "float32", "mixture_sha256": mixture}


RUNS = {
    ("unknown_0", 0): recorded(),
    ("unknown_50", 0): recorded(mixture="b" * 64),
    ("unknown_50", 1): recorded(seed=1, mixture="b" * 64),
}


def test_variant_seed_and_mixture_may_differ():
    assert set_apart(RUNS, rank=len) == {}
    assert set_apart({}, rank=len) == {}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (recorded(peak_lr=0.1), "train.peak_lr 0.1 in place of 1e-05"),
        (recorded() | {"dtype": "bfloat16"}, "dtype bfloat16 in place of float32"),
        (recorded(dropout=0.1) | {"model": "c" * 64}, "model cccccccccccc... in place of None, train.dropout 0.1 in"),
        ({}, UNRECORDED),
    ],
)
def test_any_other_setting_sets_a_run_apart_and_is_named(changed, says):
    (name, difference), = set_apart(RUNS | {("unknown_100", 0): changed}, rank=len).items()
    assert name == ("unknown_100", 0) and difference.startswith(says)


def test_seeds_of_one_variant_share_its_mixture():
    runs = RUNS | {("unknown_50", 2): recorded(seed=2, mixture="d" * 64)}
    assert set_apart(runs, rank=len) == {
        ("unknown_50", 2): "mixture_sha256 dddddddddddd... in place of bbbbbbbbbbbb..."
    }


def test_the_rank_decides_which_runs_stay():
    runs = RUNS | {("unknown_0", 7): recorded(seed=7, peak_lr=0.1)}
    assert set(set_apart(runs, rank=lambda names: ("unknown_0", 7) in names)) == set(RUNS)


def test_runs_without_recorded_settings_are_pooled_among_themselves():
    assert set_apart({name: {} for name in RUNS}, rank=len) == {}
    runs = {name: {} for name in RUNS} | {("unknown_0", 1): recorded(seed=1)}
    assert set_apart(runs, rank=len)["unknown_0", 1].startswith("recorded settings, where the others have none")
