"""The sampler against the reference process, which knows no cache and no shared prompt: token for token."""

import jax
import numpy as np
import pytest
from scipy import stats

from slick_jax.config import MeshConfig
from slick_jax.errors import InputError
from slick_jax.files.hashing import id_words
from slick_jax.mesh import make_mesh, replicated
from slick_jax.models.spec import spec_from_hf
from slick_jax.models.transformer import Network
from slick_jax.sampling.sampler import PROMPT_CHUNK, Prompt, Sampler
from tests.families import VOCABULARY, config_of
from tests.knowledge.reference import decode_draws

N_TOKENS = 64  # the other rows of the vocabulary are padding
PREFIXES = [np.random.default_rng(1).integers(12, N_TOKENS, size) for size in (11, 7)]
STOPS = np.isin(np.arange(VOCABULARY), (2, 5, 9, 11, 30))
DRAWS, TOP_K, TEMPERATURE, SEED = 6, 8, 0.5, 3


def network_of(name):
    """A variant with random weights, large enough that draws differ and windows matter."""
    network = Network(spec_from_hf(config_of(name), name))
    params = jax.tree.map(lambda p: 3 * p if p.ndim > 2 else p, network.init(jax.random.key(1)))
    return network, params


def prompts_of(count, behind=True):
    """Two prompts an id, one behind each prefix, 1 to 8 tokens of their own."""
    rng = np.random.default_rng(2)
    tokens = [rng.integers(12, N_TOKENS, rng.integers(1, 9)).tolist() for _ in range(count)]
    return [Prompt(own, (*id_words(f"q{i // 2}"), i % 2), i % 2 * behind) for i, own in enumerate(tokens)]


def sampler_of(network, mesh, **options):
    defaults = {
        "stops": STOPS, "numbers": range(DRAWS), "max_tokens": 9, "temperature": TEMPERATURE, "top_k": TOP_K,
        "seed": SEED, "n_tokens": N_TOKENS, "rows": 96, "lengths": (4, 9),
    }  # fmt: skip
    return Sampler(network, mesh, **defaults | options)


def bank_of(network, params, mesh):
    tokens, lengths = np.zeros((8, 16), np.int32), np.zeros(8, np.int32)
    for row, prefix in enumerate(PREFIXES):
        tokens[row, : len(prefix)], lengths[row] = prefix, len(prefix)
    return jax.jit(network.prefix, out_shardings=replicated(mesh))(params, tokens, lengths)


def reference(network, params, prompts, max_tokens):
    """The same draws, decoded without the sampler, [prompt][draw]."""
    found = []
    for number in range(0, len(prompts), 2):
        whole = [[*PREFIXES[slot], *prompts[number + slot].tokens] for slot in range(2)]
        draws = decode_draws(
            network, params, whole, f"q{number // 2}", SEED, DRAWS - 1, TEMPERATURE, TOP_K, max_tokens, STOPS, N_TOKENS,
            pad_to=48,
        )  # fmt: skip
        found += [[draw.path for draw in slot] for slot in draws]
    return found


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])  # gemma2: windows and soft caps; gpt2: learned positions
def test_draws_equal_the_reference_over_eight_devices(name):
    network, params = network_of(name)
    prompts = prompts_of(12)
    expected = reference(network, params, prompts, 9)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, network.shardings(mesh))
        found = sampler_of(network, mesh)(placed, prompts, bank_of(network, placed, mesh))
    assert found == expected
    lengths = [len(text) for texts in found for text in texts]
    assert min(lengths) < 6 and max(lengths) == 9  # some stop early, some never
    assert len({tuple(text) for texts in found for text in texts}) > DRAWS


def test_long_texts_do_not_depend_on_the_batch_and_compile_once():
    network, params = network_of("llama")
    stops, prompts = np.arange(VOCABULARY) == 2, prompts_of(8, behind=False)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        sampler = sampler_of(network, mesh, max_tokens=40, stops=stops, rows=1000, lengths=(8,))
        whole = sampler(params, prompts)
        compiled = sampler._advance._cache_size(), sampler._start._cache_size()
        assert sampler(params, prompts) == whole
        assert (sampler._advance._cache_size(), sampler._start._cache_size()) == compiled
        alone = sampler_of(network, mesh, max_tokens=40, stops=stops, rows=1, lengths=(8,))
        assert alone(params, prompts[5:6]) == whole[5:6]
    draws = decode_draws(
        network, params, [prompts[0].tokens, prompts[1].tokens], "q0", SEED, DRAWS - 1, TEMPERATURE, TOP_K, 40, stops,
        N_TOKENS, pad_to=64,
    )  # fmt: skip
    assert whole[:2] == [[draw.path for draw in slot] for slot in draws]
    assert max(len(text) for text in whole[0]) > 33  # beyond the second size of the cache


def test_few_prompts_are_decoded_in_few_rows():
    network, _ = network_of("llama")
    sampler = sampler_of(network, make_mesh(MeshConfig(), jax.devices()[:1]), rows=DRAWS * PROMPT_CHUNK * 40)
    for count, expected in ((1, [1]), (24, [3]), (25, [40]), (320, [40]), (321, [40, 40])):
        calls = list(sampler._calls(prompts_of(count, behind=False)))
        assert [chunks_read for _, chunks_read, _ in calls] == expected
        assert sorted(index for _, _, chunks in calls for chunk in chunks for index in chunk) == list(range(count))


def test_a_stop_may_take_two_tokens():
    network, params = network_of("llama")
    prompts = prompts_of(8, behind=False)
    first, second = np.arange(VOCABULARY) % 3 == 0, np.arange(VOCABULARY) % 4 == 0
    table = np.stack([np.where(first, 1, 0), np.where(second, 2, np.where(first, 1, 0))])
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        whole = sampler_of(network, mesh, stops=np.zeros(VOCABULARY, bool))(params, prompts)
        found = sampler_of(network, mesh, stops=table)(params, prompts)
    for texts, cut in zip(whole, found, strict=True):
        for text, kept in zip(texts, cut, strict=True):
            pairs = [place for place in range(1, len(text)) if first[text[place - 1]] and second[text[place]]]
            assert kept == text[: pairs[0] + 1 if pairs else len(text)]
    assert len({len(text) for texts in found for text in texts}) > 3


def test_samples_follow_the_model_and_greedy_takes_its_best():
    network, params = network_of("llama")
    prompt = [20, 33, 41]
    logits = network.logits(params, network.hidden(params, np.array([[prompt]])).states)[0, 0, -1, :N_TOKENS]
    kept = np.argsort(-np.asarray(logits))[:TOP_K]
    shares = np.exp(np.asarray(logits, np.float64)[kept] / TEMPERATURE)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        sampler = sampler_of(network, mesh, max_tokens=1, numbers=range(401))
        texts = sampler(params, [Prompt(prompt, (*id_words(f"{i}"), 0)) for i in range(8)])
    assert all(draws[0] == [kept[0]] for draws in texts)
    drawn = np.array([text[0] for draws in texts for text in draws[1:]])
    assert set(drawn) <= set(kept)
    counts = (drawn[:, None] == kept).sum(axis=0)
    assert stats.chisquare(counts, shares / shares.sum() * len(drawn)).pvalue > 1e-3


def test_a_nan_is_an_input_error():
    network, params = network_of("llama")
    params["final_norm"]["scale"] = params["final_norm"]["scale"] * np.nan
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh), pytest.raises(InputError, match="NaN"):
        sampler_of(network, mesh, max_tokens=1)(params, prompts_of(1, behind=False))
