"""What processes of one training run agree on: those that would run something else are refused, before they begin."""

import jax
import pytest

from slick_jax.config import MeshConfig
from slick_jax.errors import InputError
from slick_jax.mesh import make_mesh
from slick_jax.processes.signals import Sigterm
from slick_jax.training.together import Votes, claimed_by_all


class Second:
    """Process 1, as `Peers` would be, told of a claim by process 0."""

    index, leads = 1, False

    def published(self, name):
        assert name == "claim"
        return {"settings": {"rate": 1, "splits": ["a", "b"]}, "finished": True}


def test_the_folder_is_left_to_process_0(tmp_path):
    with claimed_by_all(Second(), tmp_path, "train.json", {"rate": 1, "splits": ("a", "b")}, "result.json") as finished:
        assert finished
    assert not list(tmp_path.iterdir())


def test_a_process_with_other_settings_is_refused(tmp_path):
    other = claimed_by_all(Second(), tmp_path, "train.json", {"rate": 2, "splits": ("a", "b")}, "result.json")
    told = r"process 1 would run something else than process 0 \(rate was 1, is 2\).* the same settings"
    with pytest.raises(InputError, match=told), other:
        pass


def test_a_process_by_itself_votes_with_nobody():
    sigterm = Sigterm()
    votes = Votes(make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1]), sigterm)
    assert votes.cast() is None and Votes.count(None) is None
    assert not votes.outcome(None) and not votes.now()
    sigterm()
    assert votes.outcome(None) and votes.now()
