"""Experts and routing against a loop over tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from slick_jax.models.moe import MixtureOfExperts, route
from slick_jax.models.spec import ModelSpec, MoE
from slick_jax.models.weight_table import weight_table


@pytest.mark.parametrize("normalise", [True, False])
def test_every_token_gets_its_best_experts(normalise):
    scores = jnp.asarray(np.random.default_rng(0).standard_normal((7, 5)), jnp.float32)
    share, experts = route(scores, MoE(5, 2, 4, normalise))
    chances = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    for token in range(7):
        best = np.argsort(-chances[token])[:2]
        expected = chances[token][best]
        np.testing.assert_array_equal(experts[token], best)
        np.testing.assert_allclose(share[token], expected / expected.sum() if normalise else expected, rtol=1e-5)


@pytest.mark.parametrize("loads", ["spread", "one expert for all"])
def test_no_token_is_dropped(loads):
    moe = MoE(n_experts=4, top_k=2, d_mlp=5, normalise=True)
    spec = ModelSpec(11, 6, 1, 2, 2, 4, 5, family="qwen3_moe", moe=moe, qk_norm="head")
    rng = np.random.default_rng(1)
    graph, state = nnx.split(MixtureOfExperts(moe, weight_table(spec)["layers"]["mlp"], "silu", "highest"))
    state = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype), state)
    mixture = nnx.merge(graph, state)
    x = rng.standard_normal((2, 3, 6)).astype(np.float32)
    if loads != "spread":
        x = np.broadcast_to(x[:1, :1], x.shape)
    got = mixture(jnp.asarray(x))
    gate, up, down = (np.asarray(part[...], np.float64) for part in (mixture.gate, mixture.up, mixture.down))
    share, experts = route(mixture.router(jnp.asarray(x.reshape(-1, 6))), moe)
    for row, (vector, weights, chosen) in enumerate(zip(x.reshape(-1, 6), share, experts, strict=True)):
        hidden = [vector @ gate[e] for e in np.asarray(chosen)]
        outs = [(h / (1 + np.exp(-h)) * (vector @ up[e])) @ down[e] for h, e in zip(hidden, chosen, strict=True)]
        expected = sum(w * out for w, out in zip(np.asarray(weights), outs, strict=True))
        np.testing.assert_allclose(got.reshape(-1, 6)[row], expected, rtol=1e-4, atol=1e-4)
