"""`slick study`: which runs it starts, with which settings, and what it does when one fails."""

import pytest

from slick_jax import study
from slick_jax.config import Config, StudyConfig, TrainConfig
from slick_jax.errors import InputError, Stopped
from tests.analysis import planted

VARIANTS = ["unknown_0", "unknown_50", "known_only_50"]


@pytest.fixture
def folder(tmp_path):
    """A run folder with three mixtures and nothing trained."""
    planted.write_manifest(tmp_path, VARIANTS)
    planted.write_annotations(tmp_path)
    return tmp_path


@pytest.fixture
def started(folder, monkeypatch):
    """Takes the place of the training command: plants a finished run; a name in `fails` raises instead."""
    calls = []

    def run(config):
        variant, seed = config.train.variant, config.train.seed
        calls.append(config)
        if (variant, seed) in run.fails:
            raise run.fails[variant, seed]
        planted.write_run(folder, variant, planted.mixture(40, 50), seed, epochs=3)

    run.calls, run.fails = calls, {}
    monkeypatch.setattr("slick_jax.training.train.run", run)
    return run


def config_of(folder, **settings):
    return Config(run_dir=str(folder), train=TrainConfig(epochs=3, peak_lr=1e-4), study=StudyConfig(**settings))


def names(started):
    return [(config.train.variant, config.train.seed) for config in started.calls]


def test_every_variant_and_seed_runs_once_with_the_settings_of_the_study(folder, started):
    page = study.run(config_of(folder, seeds=(0, 3)))
    assert names(started) == [(variant, seed) for variant in VARIANTS for seed in (0, 3)]
    assert all((config.train.epochs, config.train.peak_lr) == (3, 1e-4) for config in started.calls)
    assert page.exists() and page.name == "index.html"


def test_finished_runs_are_handed_to_training_too_which_checks_their_settings(folder, started):
    planted.write_run(folder, "unknown_0", planted.mixture(40, 0), epochs=3)
    started.fails["unknown_0", 0] = InputError("this folder belongs to a run with other settings")
    with pytest.raises(InputError, match="unknown_0, seed 0: this folder belongs to a run with other settings"):
        study.run(config_of(folder))
    assert names(started) == [(variant, 0) for variant in VARIANTS]


def test_only_the_chosen_variants_run(folder, started):
    study.run(config_of(folder, variants=("known_only_50", "unknown_0")))
    assert names(started) == [("known_only_50", 0), ("unknown_0", 0)]


def test_a_failing_run_keeps_no_other_from_running_and_failures_come_together(folder, started):
    started.fails = {
        ("unknown_0", 0): InputError("the loss is nan"),
        ("unknown_0", 1): InputError("no space left"),
        ("unknown_50", 1): InputError("no space left"),
    }
    with pytest.raises(InputError) as error:
        study.run(config_of(folder, seeds=(0, 1)))
    assert len(started.calls) == 6
    message = str(error.value)
    assert "3 of 6 runs failed" in message
    assert "unknown_0, seed 0: the loss is nan" in message
    assert "unknown_0, seed 1; unknown_50, seed 1: no space left" in message
    assert (folder / "report" / "index.html").exists()


def test_a_signal_stops_the_whole_study(folder, started):
    started.fails["unknown_50", 0] = Stopped("saved at step 7")
    with pytest.raises(Stopped):
        study.run(config_of(folder))
    assert names(started) == [("unknown_0", 0), ("unknown_50", 0)]


def test_unknown_variants_are_refused_before_anything_runs(folder, started):
    with pytest.raises(InputError) as error:
        study.run(config_of(folder, variants=("unknown_05", "unknown_0", "nothing")))
    assert "did you mean 'unknown_0'" in str(error.value) and "'nothing'" in str(error.value)
    assert started.calls == []


def test_without_mixtures_the_next_step_is_named(tmp_path, started):
    with pytest.raises(InputError, match="slick mix"):
        study.run(config_of(tmp_path / "empty"))
