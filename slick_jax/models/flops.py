"""What a forward pass costs in arithmetic, and what the devices can do: the two halves of model FLOP utilisation."""

from __future__ import annotations

import math
import time

import jax
import jax.numpy as jnp

from slick_jax.compilation import jitted
from slick_jax.models.spec import ModelSpec
from slick_jax.models.weight import Weight
from slick_jax.models.weight_table import weight_table


def forward_flops(spec: ModelSpec, tokens: float, seen: float, scored: float) -> dict[str, float]:
    """FLOPs of a forward pass, by part.

    Args:
      tokens: that go through the layers; each costs 2 FLOPs per weight it meets (of a mixture, those of its experts).
      seen: positions that all queries attend to together; each costs 4 x heads x head_dim in every layer.
      scored: positions whose scores over the vocabulary are computed; each costs 2 x d_model x vocabulary.
    """
    weights = jax.tree.leaves(weight_table(spec)["layers"], is_leaf=lambda node: isinstance(node, Weight))
    per_token = sum(math.prod(weight.shape) * _met(spec, weight) for weight in weights if weight.inputs)
    return {
        "linear": 2.0 * spec.n_layers * per_token * tokens,
        "attention": 4.0 * spec.n_layers * spec.n_heads * spec.head_dim * seen,
        "head": 2.0 * spec.d_model * spec.vocab_size * scored,
    }


def _met(spec: ModelSpec, weight: Weight) -> int:
    """How many of a weight a token meets: one, or as many as it is sent to experts."""
    return spec.moe.top_k if weight.experts else 1


def _squared(precision: str, matrix: jax.Array) -> jax.Array:
    return jnp.matmul(matrix, matrix, precision=precision)


def matmul_rate(dtype: str, precision: str, seconds: float = 0.3) -> float:
    """FLOP/s of one device in a large square matmul: the best of the calls that fit into `seconds`."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    matrix = jnp.ones((size, size), dtype)
    multiply = jitted(_squared, precision)
    jax.block_until_ready(multiply(matrix))
    best, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until or best == math.inf:
        started = time.perf_counter()
        jax.block_until_ready(multiply(matrix))
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
