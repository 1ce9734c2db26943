"""The ground of the torture, and one undisturbed run of every stage that is asked for."""

import os
import shutil
from pathlib import Path

import pytest

from tests.torture import killing
from tests.torture.ledger import Ledger
from tests.torture.stages import make_ground, stages


@pytest.fixture(scope="session")
def ground(tmp_path_factory):
    """The stages by name, with their models and rows; compiled programs are kept, apart from those of other tests."""
    made = stages(make_ground(tmp_path_factory.mktemp("ground")))
    with killing.caching(Path(os.environ["JAX_COMPILATION_CACHE_DIR"], "torture")):
        yield made


@pytest.fixture(scope="session")
def undisturbed(ground, ledger, tmp_path_factory):
    """Gives a finished run folder of a stage, and the attempt that made it: `timed`, all programs were compiled."""
    known = {}

    def give(name, timed=False):
        while len(known.setdefault(name, [])) < 1 + timed:
            folder = tmp_path_factory.mktemp("undisturbed") / "run"
            folder.mkdir()
            ground[name].prepare(folder)
            made = killing.attempt(ground[name], folder)
            assert made.finished, made.said
            ledger.note(what="undisturbed", stage=name, seconds=sum(made.worked), files=len(made.deeds[0]))
            known[name].append((folder, made))
        return known[name][-1]

    return give


@pytest.fixture(scope="session")
def ledger():
    """Takes down every kill; beside those of other processes of the suite, in $TORTURE_LEDGER where it is set."""
    with Ledger(os.environ.get("TORTURE_LEDGER")) as kept:
        yield kept


@pytest.fixture
def fresh(tmp_path):
    """Gives an empty run folder that a stage may begin in."""

    def give(stage, name="run"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / name).mkdir()
        stage.prepare(tmp_path / name)
        return tmp_path / name

    return give
