"""Trees of tokens in one forward pass: every path as a text of its own, also behind tokens that were kept."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from slick_jax.models.attention import Forest
from slick_jax.models.cache import Pool
from slick_jax.models.transformer import Network
from tests.models.small_network import NETWORK, SPEC, noisy, tokens_of

FOREST_TOKENS, PARENTS = 12, [-1, 0, 1, 2, 1, 4, 0, -1, 7, 8, 7, -1]  # two trees and a token of padding


@pytest.fixture(scope="module")
def params():
    return noisy(NETWORK.init(jax.random.key(0)))


def forest_of(parents, groups):
    """depth and end [G 1 T] of tokens whose parents (place, -1: none) are given, depth first."""
    depth, end = [], [0] * len(parents)
    for place, parent in enumerate(parents):
        depth.append(0 if parent < 0 else depth[parent] + 1)
        while place >= 0:  # every ancestor reaches at least this far
            end[place], place = len(depth), parents[place]
    return Forest(*(jnp.broadcast_to(jnp.array(part), (groups, 1, len(parents))) for part in (depth, end)))


def ancestry(place):
    return [] if place < 0 else [*ancestry(PARENTS[place]), place]


@pytest.mark.parametrize("windows", [None, (2, 4, None)])
def test_every_path_of_a_forest_is_a_text_of_its_own(params, windows):
    network = Network(dataclasses.replace(SPEC, windows=windows))
    tokens, lengths = tokens_of(2, 1, FOREST_TOKENS), jnp.array([5, 3])
    kv = network.prefix(params, tokens_of(2, 5, seed=4), lengths)
    got = network.hidden(params, tokens, kv, forest=forest_of(PARENTS, 2)).states
    for place in range(FOREST_TOKENS):
        path = ancestry(place)
        alone = network.hidden(params, tokens[:, :, jnp.array(path)], kv).states
        np.testing.assert_allclose(got[:, 0, place], alone[:, 0, -1], atol=1e-5)


@pytest.mark.parametrize("windows", [None, (2, 4, None)])
def test_tokens_behind_kept_ones_are_as_in_the_whole_text(params, windows):
    network = Network(dataclasses.replace(SPEC, windows=windows))
    kv = network.prefix(params, tokens_of(2, 5, seed=4), jnp.array([5, 3]))
    tokens, more = tokens_of(2, 1, FOREST_TOKENS), tokens_of(2, 1, 4, seed=6)
    spec, shards = network.spec, 2
    pool = Pool(*jnp.full((2, spec.n_layers, shards, 2 * FOREST_TOKENS, spec.n_kv_heads, spec.head_dim), jnp.nan))
    first = network.hidden(params, tokens, kv, forest=forest_of(PARENTS, 2), keep_kv=True).keys_values
    pool = pool.written(first.k, first.v, 7)
    assert jnp.isnan(pool.k[:, :, :7]).all() and jnp.isnan(pool.k[:, :, 7 + FOREST_TOKENS :]).all()
    leaves = 3, 10  # of the two trees: two tokens follow each
    kept = [ancestry(leaf) for leaf in leaves]
    depth = [len(kept[0]), len(kept[0]) + 1, len(kept[1]), len(kept[1]) + 1]
    first, last = [0, 0, len(kept[0]), len(kept[0])], [len(kept[0])] * 2 + [len(kept[0]) + len(kept[1])] * 2
    forest = Forest(*(jnp.broadcast_to(jnp.array(part), (2, 1, 4)) for part in (depth, [2, 2, 4, 4], first, last)))
    slots = jnp.array([[7 + place for path in kept for place in path]] * 2)
    got = network.hidden(params, more, kv, forest=forest, behind=jnp.arange(2), pool=pool, slots=slots).states
    for number, leaf in enumerate(leaves):
        texts = jnp.concatenate([tokens[:, :, jnp.array(ancestry(leaf))], more[:, :, 2 * number : 2 * number + 2]], -1)
        whole = network.hidden(params, texts, kv).states
        np.testing.assert_allclose(got[:, :, 2 * number : 2 * number + 2], whole[:, :, -2:], atol=1e-5)
