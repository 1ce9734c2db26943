"""A small network of odd sizes with weights that all matter, and tokens for it."""

import jax
import jax.numpy as jnp
import numpy as np

from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network

# Odd sizes on purpose: head_dim is not d_model / n_heads, and two query heads share a key-value head.
SPEC = ModelSpec(
    vocab_size=56, d_model=24, n_layers=3, n_heads=6, n_kv_heads=3, head_dim=10, d_mlp=40, rope_theta=5000.0,
    attention_bias=True, mlp_bias=True,
)  # fmt: skip
NETWORK = Network(SPEC)


def tokens_of(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, SPEC.vocab_size, shape), jnp.int32)


def noisy(params, seed=1):
    """Biases and norms start at constants; noise on every weight makes each of them matter."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(tree, [x + 0.1 * rng.standard_normal(x.shape).astype(np.float32) for x in leaves])
