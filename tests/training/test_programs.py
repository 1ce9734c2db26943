"""Programs of a training run are those of the next one, unless something differs that they are made from."""

import dataclasses

import jax
import pytest

from slick_jax.config import MeshConfig, TrainConfig
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.training.programs import programs_of

NETWORK = Network(ModelSpec(vocab_size=32, d_model=8, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=4, d_mlp=16))
SETTINGS = TrainConfig(variant="unknown_0", epochs=3)


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(8, 1, 1))


def test_runs_of_a_study_share_their_programs(mesh):
    first = programs_of(SETTINGS, NETWORK, mesh, 24)
    for changed in ({"variant": "unknown_50"}, {"seed": 7}, {"variant": "", "mixture": "rows.jsonl"}):
        assert programs_of(dataclasses.replace(SETTINGS, **changed), NETWORK, mesh, 24) is first
    assert programs_of(SETTINGS, NETWORK, mesh, 48) is first  # the rate is constant


@pytest.mark.parametrize(
    "changed", [{"peak_lr": 1e-3}, {"dropout": 0.2}, {"accumulate": 2}, {"optimizer": "adafactor"}, {"clip_norm": 0.5}]
)
def test_what_a_step_is_made_from_tells_programs_apart(mesh, changed):
    assert programs_of(dataclasses.replace(SETTINGS, **changed), NETWORK, mesh, 24) is not programs_of(
        SETTINGS, NETWORK, mesh, 24
    )


def test_network_mesh_and_the_length_of_a_cosine_tell_programs_apart(mesh):
    cosine = dataclasses.replace(SETTINGS, schedule="cosine")
    asked = [
        (SETTINGS, NETWORK, mesh, 24),
        (SETTINGS, dataclasses.replace(NETWORK, remat="full"), mesh, 24),
        (SETTINGS, NETWORK, make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1]), 24),
        (cosine, NETWORK, mesh, 24),
        (cosine, NETWORK, mesh, 48),
    ]
    assert len({id(programs_of(*one)) for one in asked}) == len(asked)
