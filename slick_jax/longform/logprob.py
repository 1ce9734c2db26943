"""How likely a model is to write a claim: the log-probability of its tokens behind their context, per token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from slick_jax.models.transformer import Network, Params
from slick_jax.sampling import logits as select


def mean_logprob(
    network: Network,
    n_tokens: int,
    params: Params,
    states: Float[Array, "B T D"],
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    starts: Int[Array, " B"],
) -> Float[Array, " B"]:
    """Mean log-probability (nats) of the tokens from `starts` up to `lengths`, each given all before it.

    Length-normalised, or long claims would all seem unlikely. One position is scored at a time, so that never more than
    B rows of the vocabulary are held. `starts` is at least 1; 0 for a row without tokens from there on.
    """

    def of_position(state_and_target: tuple[jax.Array, jax.Array]) -> jax.Array:
        state, target = state_and_target
        logits = select.clean(network.logits(params, state), n_tokens)
        return jnp.take_along_axis(logits, target[:, None], axis=1)[:, 0] - jax.nn.logsumexp(logits, axis=-1)

    found = jax.lax.map(of_position, (states.swapaxes(0, 1)[:-1], tokens.T[1:]))  # [T-1 B], of tokens 1, 2, ...
    place = jnp.arange(1, tokens.shape[1])[:, None]
    counted = (starts <= place) & (place < lengths)
    return jnp.where(counted, found, 0.0).sum(axis=0) / jnp.maximum(counted.sum(axis=0), 1)
