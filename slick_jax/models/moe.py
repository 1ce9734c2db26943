"""A mixture of experts in place of a layer's MLP: no token is ever dropped, whatever the experts' loads."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from slick_jax.models.int8 import product
from slick_jax.models.layers import ACTIVATION_FUNCTIONS, Linear
from slick_jax.models.spec import MoE
from slick_jax.models.weight import Table


class MixtureOfExperts(nnx.Module):
    """sum over a token's experts of weight * down(activation(gate(x)) * up(x)) (Shazeer et al. 2017)."""

    def __init__(self, moe: MoE, weights: Table, activation: str, precision: str):
        self.router = Linear(weights["router"], precision)
        self.gate, self.up, self.down = (weights[name]["kernel"].param() for name in ("gate", "up", "down"))
        self.moe = moe
        self.activation = activation
        self.precision = precision

    def __call__(self, x: Float[Array, "*lead D"], rng: jax.Array | None = None) -> Float[Array, "*lead D"]:
        """The mixture; `rng` is for adapters, which experts do not have."""
        flat = x.reshape(-1, x.shape[-1])
        share, experts = route(self.router(flat), self.moe)
        # Pairs of token and expert, sorted by expert: each expert multiplies one run of rows.
        chosen = experts.reshape(-1)
        order = jnp.argsort(chosen, stable=True)
        sizes = jnp.bincount(chosen, length=self.moe.n_experts).astype(jnp.int32)
        rows = flat[order // self.moe.top_k]

        def multiply(rows: Float[Array, "M D"], kernel: nnx.Param, axes: tuple[str, ...]) -> Float[Array, "M F"]:
            ragged = functools.partial(jax.lax.ragged_dot, group_sizes=sizes, precision=self.precision)
            return product(rows, kernel.get_value(), ragged, axes, spread=lambda scale: scale[chosen[order]])

        wide, narrow = ("experts", "embed", "mlp"), ("experts", "mlp", "embed")
        active = ACTIVATION_FUNCTIONS[self.activation](multiply(rows, self.gate, wide))
        rows = multiply(active * multiply(rows, self.up, wide), self.down, narrow)
        rows = jnp.zeros_like(rows).at[order].set(rows).reshape(*experts.shape, -1)  # back to [M top_k D]
        return jnp.einsum("mkd,mk->md", rows, share.astype(rows.dtype), precision=self.precision).reshape(x.shape)


def route(
    scores: Float[Array, "M E"], moe: MoE
) -> tuple[Float[Array, "M top_k"], Int[Array, "M top_k"]]:
    """The experts each token takes, best first, and their weights: softmax over all experts, in float32."""
    share, experts = jax.lax.top_k(jax.nn.softmax(scores.astype(jnp.float32), axis=-1), moe.top_k)
    return (share / jnp.sum(share, axis=-1, keepdims=True) if moe.normalise else share), experts
