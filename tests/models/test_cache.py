"""Attention of one token a row over shared segments and its own cache, against the attention of whole rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.models.attention import shared_prefix_attention
from slick_jax.models.cache import Past, Segment, past_attention

N, HEADS, KV_HEADS, H, SLOTS, FILLED = 5, 4, 2, 6, 4, 3
PREFIX, PROMPTS = 7, (3, 5)  # lengths
PROMPT_OF = [0, 0, 1, 1, 1]


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 2, 6, 9])
def test_a_step_is_the_last_token_of_the_whole_row(window, softcap):
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.normal(size=shape).astype(np.float32)

    prefix, prompts = random(2, KV_HEADS, PREFIX + 2, H), random(2, 2, KV_HEADS, max(PROMPTS), H)
    own, new = random(2, N, KV_HEADS, SLOTS, H), random(2, N, KV_HEADS, H)
    q = random(N, HEADS, H)
    members = np.array([[[0, 1, 0], [2, 3, 4]]])
    places = jnp.array([[0, 1, 3, 4, 5]])
    segments = (
        Segment(
            *(jnp.asarray(one)[None, None] for one in prefix), jnp.array([[PREFIX]]), jnp.array([[0]]),
            jnp.array([[[4, 2, 0, 1, 3]]]), jnp.array([[2, 3, 1, 4, 0]]),
        ),
        Segment(
            *(jnp.asarray(one)[None] for one in prompts), jnp.array([PROMPTS]), jnp.array([[PREFIX, PREFIX]]),
            jnp.asarray(members), places,
        ),
    )  # fmt: skip
    positions = jnp.array([[PREFIX + PROMPTS[p] + FILLED for p in PROMPT_OF]])
    past = Past(segments, jnp.asarray(own[0])[None], jnp.asarray(own[1])[None], jnp.int32(FILLED), positions)
    options = {"scale": 0.4, "softcap": softcap, "window": window}
    row = [one.reshape(N, 1, 1, -1, H) for one in (q, new[0], new[1])]
    found = jax.jit(lambda *a: past_attention(*a, "highest", **options))(*row, past)
    for n, p in enumerate(PROMPT_OF):
        parts = (prefix[:, :, :PREFIX], prompts[:, p, :, : PROMPTS[p]], own[:, n, :, :FILLED], new[:, n, :, None])
        k, v = (one.swapaxes(0, 1)[None, None] for one in np.concatenate(parts, axis=2))
        whole = np.zeros((1, 1, k.shape[2], HEADS, H), np.float32)
        whole[0, 0, -1] = q[n]
        expected = shared_prefix_attention(*map(jnp.asarray, (whole, k, v)), None, "highest", **options)
        np.testing.assert_allclose(found[n, 0, 0], expected[0, 0, -1], atol=1e-5)
