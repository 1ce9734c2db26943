"""Selection rules against numpy and against JAX's own key chain."""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

from slick_jax.files.hashing import id_words
from slick_jax.knowledge.forward import Program
from slick_jax.sampling import logits as select

TINY = np.finfo(np.float32).tiny
ZERO_BITS = 1_083_432  # a token whose top 23 bits are zero for draw 1 of "zero bits", found by search


def chain(seed, identifier, slot, draw):
    """Key data of `fold_in` after `fold_in`: the id's two words, the exemplar slot, the draw."""
    digest = hashlib.sha256(identifier.encode()).digest()
    key = jax.random.key(seed, impl="threefry2x32")
    for number in (int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big"), slot, draw):
        key = jax.random.fold_in(key, number)
    return np.asarray(jax.random.key_data(key))


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_draw_keys_are_the_chain_of_fold_ins(seed):
    names = [("P131.test.7", 0), ("P131.test.7", 9), ("Île €", 3)]
    words = np.array([[(*id_words(name), slot) for name, slot in names]], np.uint32)
    keys = np.stack(select.draw_keys(select.run_key(seed), words, 16), axis=-1)
    assert keys.shape == (1, 3, 16, 2)
    for index, (name, slot) in enumerate(names):
        for draw in range(1, 17):
            assert np.array_equal(keys[0, index, draw - 1], chain(seed, name, slot, draw)), (name, slot, draw)


def numpy_gumbel(key, position, tokens):
    """Float64 noise from the same bits: word 0 of threefry2x32(key, (position, token))."""
    counters = np.concatenate([np.full(len(tokens), position), tokens]).astype(np.uint32)
    bits = np.asarray(threefry_2x32(jnp.asarray(key), counters))[: len(tokens)]
    return -np.log(-np.log(np.maximum((bits >> 9) / 2.0**23, TINY)))


@pytest.mark.parametrize("position", [0, 1, 31])
def test_gumbel_is_a_function_of_key_position_and_token(position):
    key, tokens = chain(0, "a", 2, 5), np.array([0, 1, 2, 49151, 150_000])
    found = select.gumbel((key[0], key[1]), jnp.asarray(position), jnp.asarray(tokens))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, numpy_gumbel(key, position, tokens), rtol=1e-6, atol=1e-6)


def test_gumbel_broadcasts_without_changing_a_value():
    keys = select.draw_keys(select.run_key(4), np.array([[7, 8, 0], [7, 8, 1]], np.uint32), 3)
    tokens = np.arange(10)
    whole = select.gumbel(tuple(word[..., None] for word in keys), np.full((2, 3, 1), 6), tokens)
    for row, draw in np.ndindex(2, 3):
        alone = select.gumbel((keys[0][row, draw], keys[1][row, draw]), jnp.asarray(6), tokens)
        assert np.array_equal(whole[row, draw], alone)


def test_gumbel_has_its_distribution_and_is_finite():
    key = chain(1, "b", 0, 1)
    noise = np.asarray(select.gumbel((key[0], key[1]), jnp.asarray(3), jnp.arange(200_000)))
    assert np.isfinite(noise).all()
    assert stats.kstest(noise, stats.gumbel_r.cdf).pvalue > 1e-3


def test_gumbel_of_zero_bits_is_finite():
    key, token = chain(0, "zero bits", 0, 1), ZERO_BITS
    found = select.gumbel((key[0], key[1]), jnp.asarray(0), jnp.asarray([token]))
    np.testing.assert_allclose(found, -np.log(-np.log(TINY)), rtol=1e-6)


def test_clean_takes_negative_zeros_and_padded_ids_away():
    logits = jnp.array([[-0.0, 0.0, -1.0, 9.0, jnp.nan]], jnp.bfloat16)
    found = np.asarray(jax.jit(select.clean, static_argnums=1)(logits, 3))
    assert found.dtype == np.float32
    assert np.array_equal(found, np.array([[0.0, 0.0, -1.0, -np.inf, -np.inf]], np.float32))
    assert not np.signbit(found[0, :2]).any()
    assert np.isnan(np.asarray(select.clean(logits, 5))[0, 4]), "a NaN of a real token stays"


def test_top_k_ranks_as_lexsort_does():
    rng = np.random.default_rng(0)
    logits = np.round(rng.normal(size=(64, 300)) * 4) / 4  # many ties and zeros of both signs
    assert np.signbit(logits[logits == 0]).any()
    values, ids = jax.jit(lambda x: select.top_k(select.clean(x, 290), 40))(logits.astype(np.float32))
    wanted = np.array([np.lexsort((np.arange(290), -row[:290] + 0.0))[:40] for row in logits])
    assert np.array_equal(ids, wanted)
    assert np.array_equal(values, np.take_along_axis(logits, wanted, axis=1))


def test_top_k_of_a_small_vocabulary_keeps_it_whole():
    values, ids = select.top_k(jnp.array([[1.0, 3.0, 2.0]]), 40)
    assert ids.tolist() == [[1, 2, 0]]
    assert values.tolist() == [[3.0, 2.0, 1.0]]


def test_draw_takes_the_best_score_and_the_lower_id_of_equals():
    values = jnp.array([[2.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 0.0, -jnp.inf]])
    ids = jnp.array([[5, 9, 3], [5, 9, 3], [7, 1, 0]])
    noise = jnp.array([[0.0, 2.0, 2.0], [0.0, 1.0, 0.0], [0.0, 2.0, 50.0]])
    assert select.draw(values, ids, noise, jnp.float32(0.5)).tolist() == [3, 5, 1]


@pytest.mark.parametrize("temperature", [0.5, 1.3])
def test_draws_follow_the_softmax_of_the_kept_tokens(temperature):
    rng = np.random.default_rng(1)
    logits, n, k = rng.normal(size=50).astype(np.float32), 20_000, 10
    values, ids = select.top_k(select.clean(jnp.asarray(logits)[None], 50), k)
    keys = tuple(word[0, :, None] for word in select.draw_keys(select.run_key(2), np.array([[1, 2, 0]], np.uint32), n))
    drawn = np.asarray(select.draw(values, ids, select.gumbel(keys, jnp.asarray(4), ids), jnp.float32(temperature)))
    share = np.exp(np.sort(logits.astype(np.float64))[::-1][:k] / temperature)
    expected = n * share / share.sum()
    observed = np.array([(drawn == token).sum() for token in np.argsort(-logits)[:k]])
    assert observed.sum() == n, "no other token is drawn"
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("size", [16384, 20_001])
@pytest.mark.parametrize("kind", ["distinct", "ties", "all equal", "one chunk"])
def test_top_k_of_a_large_vocabulary(size, kind):
    rng = np.random.default_rng(size)
    logits = rng.normal(size=(6, size)).astype(np.float32)
    if kind == "ties":
        logits = np.round(logits * 2) / 2
    elif kind == "all equal":
        logits[:] = 1.0
    elif kind == "one chunk":
        logits[:, 300:350] += 20.0
    values, ids = select.top_k(jnp.asarray(logits), 40)
    wanted = np.stack([np.lexsort((np.arange(size), -row))[:40] for row in logits])
    np.testing.assert_array_equal(ids, wanted)
    np.testing.assert_array_equal(values, np.take_along_axis(logits, wanted, axis=1))


@dataclasses.dataclass(frozen=True)
class States:
    """A network whose states are the logits."""

    def logits(self, params, states):
        return states


def test_the_compiled_decision_does_not_sort():
    program = Program(network=States(), n_samples=16, sample_top_k=40, top_k=40, n_tokens=2000)
    shape = jax.ShapeDtypeStruct
    compiled = jax.jit(program.decide).lower(
        {}, shape((1, 64, 2000), jnp.float32), shape((1, 64), jnp.int32), shape((1, 64, 3), jnp.uint32),
        shape((1, 64), jnp.int32), shape((2,), jnp.uint32), shape((), jnp.float32),
    ).compile()  # fmt: skip
    text = compiled.as_text()
    assert "TopK" in text
    assert " sort(" not in text
