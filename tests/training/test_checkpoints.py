"""Checkpoints: the same bytes back, on any mesh, parameters alone, and nothing half-written."""

import asyncio
import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.config import MeshConfig, PretrainConfig
from slick_jax.errors import InputError, Stopped
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.processes import signals
from slick_jax.training.checkpoints import Checkpoints, find_step, load_params
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import abstract_state, init_state

NETWORK = Network(ModelSpec(vocab_size=32, d_model=8, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=4, d_mlp=16))
OPTIMIZER = make_optimizer(PretrainConfig(), 100, NETWORK.decay_mask())


def state_of(step):
    """A state whose moments are not all zero."""
    state = init_state(NETWORK, OPTIMIZER, jax.random.key(step))
    moments = jax.tree.map(lambda leaf: leaf + jnp.asarray(step, leaf.dtype), state.opt_state)
    return state._replace(step=jnp.int32(step), opt_state=moments)


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_a_state_comes_back_bit_for_bit(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest is None
        checkpoints.save(state_of(3))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 3
        assert_same(checkpoints.load(abstract_state(NETWORK, OPTIMIZER)), state_of(3))


@pytest.mark.parametrize("sizes", [MeshConfig(8, 1, 1), MeshConfig(2, 2, 2)])
def test_a_state_is_read_onto_another_mesh(tmp_path, sizes):
    mesh = make_mesh(sizes)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(1))
        wanted = abstract_state(NETWORK, OPTIMIZER, mesh)
        found = checkpoints.load(wanted)
    assert_same(found, state_of(1))
    jax.tree.map(lambda leaf, place: _assert_placed(leaf, place.sharding), found, wanted)


def test_only_the_newest_is_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(state_of(step))
        assert checkpoints.latest == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["2", "3"]


def test_a_save_that_was_cut_off_is_not_seen(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(1))
    unfinished = tmp_path / "2.orbax-checkpoint-tmp"
    unfinished.mkdir()
    (unfinished / "params").write_text("half")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 1
        checkpoints.save(state_of(2))
        assert_same(checkpoints.load(abstract_state(NETWORK, OPTIMIZER)), state_of(2))


def test_what_was_cut_off_is_removed_before_the_folder_is_let_go(tmp_path, monkeypatch):
    """Else a process that has no more to do ends with a traceback of the thread that removes it."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(1))
    (tmp_path / "2.orbax-checkpoint-tmp-3").mkdir()
    to_thread = asyncio.to_thread

    async def slow(*call):
        await asyncio.sleep(0.2)
        return await to_thread(*call)

    monkeypatch.setattr(asyncio, "to_thread", slow)
    with Checkpoints(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_parameters_are_read_without_the_optimizer(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(state_of(1))
        checkpoints.save(state_of(2))
    assert_same(load_params(tmp_path, NETWORK), state_of(2).params)
    assert_same(load_params(tmp_path, NETWORK, step=1), state_of(1).params)


def test_missing_checkpoints_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_params(tmp_path / "nowhere", NETWORK)
    with pytest.raises(InputError, match="it holds none"):
        load_params(tmp_path, NETWORK)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(4))
    with pytest.raises(InputError, match="no checkpoint of step 9 there; there are 4"):
        load_params(tmp_path, NETWORK, step=9)


def _assert_placed(leaf, sharding):
    assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)


def test_chosen_steps_stay_besides_the_newest(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(1, 6):
            checkpoints.choose({2} if step < 5 else {2, 3})
            checkpoints.save(state_of(step), {"seen": step, "loss": 0.1 + step})
        assert checkpoints.steps == [2, 5]  # 3 was gone when it was chosen
        assert checkpoints.load_loop(2) == {"seen": 2, "loss": 2.1}
        assert checkpoints.load_loop() == {"seen": 5, "loss": 5.1}
        checkpoints.save(state_of(5), {"seen": "again"})
        assert checkpoints.load_loop()["seen"] == 5  # one that is there stays
        checkpoints.delete(5)
        assert checkpoints.latest == 2
    assert find_step(tmp_path / "2") == (tmp_path, 2)
    assert find_step(tmp_path) == (tmp_path, None)
    (tmp_path / "2024").mkdir()
    (tmp_path / "2024" / "config.json").write_text("{}")
    assert find_step(tmp_path / "2024") == (tmp_path / "2024", None)  # a model of that name


@pytest.mark.parametrize("asked", ["load", "save"])
def test_a_full_device_is_not_told_as_a_damaged_checkpoint_or_a_full_disk(tmp_path, monkeypatch, asked):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_of(1))

        def exhausted(*_, **__):
            try:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes.")
            except RuntimeError as error:
                raise ValueError("Failed to handle a checkpointable") from error

        for name in ("load_checkpointables", "save_checkpointables"):
            monkeypatch.setattr(checkpoints._checkpointer, name, exhausted)
        with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
            if asked == "load":
                checkpoints.load(abstract_state(NETWORK, OPTIMIZER))
            else:
                checkpoints.save(state_of(2))


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, Stopped), (signal.SIGINT, KeyboardInterrupt)])
@pytest.mark.parametrize("saves", [False, True])
def test_a_signal_at_any_moment_is_not_told_as_a_damaged_checkpoint_or_a_full_disk(tmp_path, number, raised, saves):
    """Orbax takes what a signal handler raises for an error of its own: here it comes at moments all over a call."""
    state, kept, n = state_of(1), tmp_path / "kept", 4 if saves else 10
    with Checkpoints(kept) as checkpoints:
        checkpoints.save(state)

    def call(folder):
        if saves:
            with Checkpoints(folder) as checkpoints:
                checkpoints.save(state)
        else:
            load_params(kept, NETWORK)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    try:
        call(tmp_path / "first")
        started = time.monotonic()
        call(tmp_path / "timed")
        lasts = time.monotonic() - started
        for moment in range(n):
            timer = threading.Timer(moment / n * lasts, os.kill, (os.getpid(), number))
            with pytest.raises(raised), signals.noticed() as sigterm, sigterm.at_once("stopped"):
                timer.start()
                call(tmp_path / str(moment))
                timer.join()  # where it came late, it is raised here
    finally:
        signal.signal(signal.SIGINT, handler)
    assert_same(load_params(kept, NETWORK), state.params)
