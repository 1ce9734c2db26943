"""Rematerialisation and compute types: the same losses and gradients in less memory, and master weights in float32."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.config import TrainConfig
from slick_jax.models.lora import LoraSpec, join, resolve
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, init_state, mean_loss, train_step

SPEC = ModelSpec(vocab_size=48, d_model=32, n_layers=4, n_heads=4, n_kv_heads=2, head_dim=8, d_mlp=96)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 48, (8, 41))
    return Rows(jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:]), jnp.ones((8, 40), jnp.float32))


def compiled(network, rows, rate=0.1):
    """Loss and gradients as one program."""
    base = Network(network.spec).init(jax.random.key(0))
    lora = network.lora is not None

    def loss(params, frozen):
        return mean_loss(network, join(frozen, params), rows, dropout=rate, rng=jax.random.key(1))

    arguments = (network.init(jax.random.key(2)), base) if lora else (base, None)
    return jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile(), arguments


@pytest.mark.parametrize("scan, lora", [(True, None), (False, None), (True, LoraSpec(4, 8.0, (), dropout=0.1))])
def test_less_is_kept_and_nothing_changes(rows, scan, lora):
    plain = Network(SPEC, scan_layers=scan, lora=lora and resolve(SPEC, lora, "here"))
    kept, results = {}, {}
    for remat in ("none", "dots", "full"):
        program, arguments = compiled(dataclasses.replace(plain, remat=remat), rows)
        kept[remat], results[remat] = program.memory_analysis().temp_size_in_bytes, program(*arguments)
    print(kept)
    assert kept["full"] < kept["dots"] < kept["none"]
    assert kept["full"] < 0.6 * kept["none"]
    for remat in ("dots", "full"):
        assert float(results[remat][0]) == pytest.approx(float(results["none"][0]), rel=1e-6)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), results[remat][1], results["none"][1]
        )


@pytest.mark.parametrize("lora", [None, LoraSpec(4, 8.0, ())])
def test_in_bfloat16_what_is_trained_stays_float32(rows, lora):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        network = Network(SPEC, dtype, lora=lora and resolve(SPEC, lora, "here"))
        optimizer = make_optimizer(TrainConfig(peak_lr=1e-3), 9, network.decay_mask())
        state = init_state(network, optimizer, jax.random.key(2))
        frozen = lora and Network(SPEC).init(jax.random.key(0))
        step = jax.jit(lambda state, frozen: train_step(network, optimizer, state, rows, frozen=frozen))  # noqa: B023
        losses[dtype] = []
        for _ in range(8):
            state, measured = step(state, frozen)
            losses[dtype].append(float(measured.loss))
        floats = {leaf.dtype for leaf in jax.tree.leaves((state.params, state.opt_state)) if leaf.dtype != jnp.int32}
        assert floats == {jnp.dtype("float32")} and measured.loss.dtype == jnp.float32
    assert losses["float32"] != losses["bfloat16"]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=1e-2)
