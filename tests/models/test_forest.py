"""Trees of tokens in one forward pass: every path as a text of its own, also behind tokens that were kept."""

import dataclasses

import jax
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
    return Forest(*(np.broadcast_to(np.int32(part), (groups, 1, len(parents))) for part in (depth, end)))


def behind_a_prefix(params, windows):
    """`hidden` of a network with these windows, and keys and values of two prefixes."""
    network = Network(dataclasses.replace(SPEC, windows=windows))
    kv = jax.jit(network.prefix)(params, tokens_of(2, 5, seed=4), np.int32([5, 3]))
    return jax.jit(network.hidden, static_argnames="keep_kv"), kv


def ancestry(place):
    return [] if place < 0 else [*ancestry(PARENTS[place]), place]


@pytest.mark.parametrize("windows", [None, (2, 4, None)])
def test_every_path_of_a_forest_is_a_text_of_its_own(params, windows):
    hidden, kv = behind_a_prefix(params, windows)
    tokens = np.asarray(tokens_of(2, 1, FOREST_TOKENS))
    got = np.asarray(hidden(params, tokens, kv, forest=forest_of(PARENTS, 2)).states)
    for place in range(FOREST_TOKENS):
        path = ancestry(place)
        alone = np.asarray(hidden(params, tokens[:, :, np.array(path)], kv).states)
        np.testing.assert_allclose(got[:, 0, place], alone[:, 0, -1], atol=1e-5)


@pytest.mark.parametrize("windows", [None, (2, 4, None)])
def test_tokens_behind_kept_ones_are_as_in_the_whole_text(params, windows):
    hidden, kv = behind_a_prefix(params, windows)
    tokens, more = np.asarray(tokens_of(2, 1, FOREST_TOKENS)), np.asarray(tokens_of(2, 1, 4, seed=6))
    shape = 2, SPEC.n_layers, 2, 2 * FOREST_TOKENS, SPEC.n_kv_heads, SPEC.head_dim  # of two shards
    pool = Pool(*np.full(shape, np.nan, np.float32))
    first = hidden(params, tokens, kv, forest=forest_of(PARENTS, 2), keep_kv=True).keys_values
    pool = jax.jit(Pool.written)(pool, first.k, first.v, 7)
    written = np.asarray(pool.k)
    assert np.isnan(written[:, :, :7]).all() and np.isnan(written[:, :, 7 + FOREST_TOKENS :]).all()
    leaves = 3, 10  # of the two trees: two tokens follow each
    kept = [ancestry(leaf) for leaf in leaves]
    depth = [len(kept[0]), len(kept[0]) + 1, len(kept[1]), len(kept[1]) + 1]
    first, last = [0, 0, len(kept[0]), len(kept[0])], [len(kept[0])] * 2 + [len(kept[0]) + len(kept[1])] * 2
    forest = Forest(*(np.broadcast_to(np.int32(part), (2, 1, 4)) for part in (depth, [2, 2, 4, 4], first, last)))
    slots = np.int32([[7 + place for path in kept for place in path]] * 2)
    behind = np.arange(2, dtype=np.int32)
    got = np.asarray(hidden(params, more, kv, forest=forest, behind=behind, pool=pool, slots=slots).states)
    for number, leaf in enumerate(leaves):
        texts = np.concatenate([tokens[:, :, np.array(ancestry(leaf))], more[:, :, 2 * number : 2 * number + 2]], -1)
        whole = np.asarray(hidden(params, texts, kv).states)
        np.testing.assert_allclose(got[:, :, 2 * number : 2 * number + 2], whole[:, :, -2:], atol=1e-5)
