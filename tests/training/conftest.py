"""The tiny checkpoint, and a finished run of it, for every file of tests that changes neither."""

import pytest

from slick_jax.training import train
from tests.training.fine_tuning import RUN, config_for, make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed")
    train.run(config_for(folder, run_dir))
    return run_dir / RUN
