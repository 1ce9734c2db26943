"""The parts of a layer against their formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from slick_jax.models.layers import Embedding, Norm, PlainMLP, SwiGLU, dropout
from slick_jax.models.spec import ACTIVATIONS, ModelSpec
from slick_jax.models.weight_table import weight_table

SPEC = ModelSpec(11, 6, 1, 2, 2, 4, 5)
TABLE = weight_table(SPEC)


def filled(module, seed=0):
    """The module with random arrays in place of its placeholders."""
    graph, state = nnx.split(module)
    rng = np.random.default_rng(seed)
    return nnx.merge(graph, jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype), state))


def test_rms_norm_takes_its_mean_in_float32():
    norm = filled(Norm(TABLE["final_norm"], "rms", 1e-5))
    x = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * np.asarray(norm.scale[...])
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, rtol=1e-5)
    tiny = norm(jnp.full((1, 6), 1e-3, jnp.bfloat16))  # its square is below what eps leaves in bfloat16 sums
    assert tiny.dtype == jnp.bfloat16 and np.isfinite(tiny.astype(np.float32)).all()


def test_norm_whose_scale_starts_at_zero():
    norm = filled(Norm(TABLE["final_norm"], "rms_plus_one", 1e-5))
    x = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * (1 + np.asarray(norm.scale[...]))
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, rtol=1e-5)


def test_layer_norm():
    table = weight_table(ModelSpec(11, 6, 1, 2, 2, 4, 5, norm="layer"))
    norm = filled(Norm(table["final_norm"], "layer", 1e-5))
    x = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    expected = expected * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6)


def test_plain_mlp():
    table = weight_table(ModelSpec(11, 6, 1, 2, 2, 4, 5, gated_mlp=False))
    mlp = filled(PlainMLP(table["layers"]["mlp"], "relu", "highest"))
    x = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    expected = np.maximum(x @ np.asarray(mlp.up.kernel[...]), 0) @ np.asarray(mlp.down.kernel[...])
    np.testing.assert_allclose(mlp(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_swiglu(activation):
    mlp = filled(SwiGLU(TABLE["layers"]["mlp"], activation, "highest"))
    x = np.random.default_rng(1).standard_normal((3, 6))
    gate, up, down = (np.asarray(part.kernel[...], np.float64) for part in (mlp.gate, mlp.up, mlp.down))
    g = x @ gate
    active = {
        "silu": g / (1 + np.exp(-g)),
        "gelu": g * 0.5 * (1 + np.vectorize(math.erf)(g / math.sqrt(2))),
        "gelu_pytorch_tanh": 0.5 * g * (1 + np.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3))),
        "relu": np.maximum(g, 0),
    }[activation]
    np.testing.assert_allclose(mlp(jnp.asarray(x, jnp.float32)), (active * (x @ up)) @ down, rtol=1e-4, atol=1e-4)


def test_embedding_scores_are_dot_products_with_its_rows():
    embedding = filled(Embedding(TABLE["embedding"], "highest"))
    tokens = jnp.array([[3, 0], [10, 3]])
    vectors = embedding(tokens, "float32")
    np.testing.assert_array_equal(vectors, np.asarray(embedding.table[...])[np.asarray(tokens)])
    np.testing.assert_allclose(embedding.scores(vectors), vectors @ np.asarray(embedding.table[...]).T, rtol=1e-5)
    assert embedding.scores(embedding(tokens, "bfloat16")).dtype == jnp.float32


def test_dropout_drops_the_share_and_rescales_the_rest():
    out = np.asarray(dropout(jnp.ones(100_000), 0.25, jax.random.key(0)))
    assert np.mean(out == 0) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(out[out != 0], 1 / 0.75, rtol=1e-6)
