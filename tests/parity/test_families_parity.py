"""The decoder against transformers, family by family: tiny random models, loaded here and exported back.

The measured differences are written to docs/families.md when all variants have run.
"""

import functools
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from slick_jax.models import moe
from slick_jax.models.families import FAMILIES
from slick_jax.models.transformer import KV, Network
from slick_jax.models.weights import load_hf, read_spec, save_hf
from tests.families import VARIANTS, VOCABULARY, config_of

ATOL = 1e-4
CHECKS = {"padded": "padded batch", "prefix": "prefix + suffix", "steps": "step by step", "export": "export, reload"}
PROMPT, NEW = 12, 32


def build(name):
    """The model of an entry with random weights, none of them at the constants that initialisers leave."""
    config = transformers.AutoConfig.for_model(
        **config_of(name), bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager"
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += (0.3 if parameter.ndim == 1 else 0.1) * torch.randn_like(parameter)
    return model


def random_tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(3, VOCABULARY, shape).astype(np.int32)


def theirs(model, tokens, mask=None, **options):
    with torch.no_grad():
        mask = None if mask is None else torch.from_numpy(mask)
        tokens = torch.from_numpy(np.asarray(tokens)).long()
        return model(input_ids=tokens, attention_mask=mask, use_cache=False, **options)


@pytest.fixture(scope="module")
def measured(root):
    """family -> check -> largest difference seen; the table of docs/families.md once every variant is in."""
    found = defaultdict(lambda: defaultdict(list))
    yield found
    checks = [check for checks in found.values() for check in checks.values()]
    if sum(map(len, checks)) == len(CHECKS) * len(VARIANTS):
        write_table(root / "docs/families.md", found)


def write_table(path, found):
    begin, end = "<!-- measured: begin -->", "<!-- measured: end -->"
    before, rest = path.read_text().split(begin)
    lines = [
        f"Largest difference of a logit in float32, over {len(VARIANTS)} variants (transformers"
        f" {transformers.__version__}, torch {torch.__version__.split('+')[0]}, CPU).",
        "",
        "| model_type | variants | " + " | ".join(CHECKS.values()) + " |",
        "| --- | --- | " + " | ".join("---:" for _ in CHECKS) + " |",
    ]
    for family in sorted(found):
        errors = [f"{max(found[family][check]):.1e}" for check in CHECKS]
        lines.append(f"| {family} | {len(found[family]['padded'])} | " + " | ".join(errors) + " |")
    path.write_text("\n".join([before + begin, "", *lines, "", end + rest.split(end)[1]]))


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request, tmp_path_factory):
    """A random model by transformers, its folder, and the network and parameters read from that folder."""
    model = build(request.param)
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder, safe_serialization=True)
    network = Network(read_spec(folder))
    return model, folder, network, load_hf(folder, network)


def note(measured, network, check, got, expected, atol=ATOL):
    """Asserts that logits agree, and keeps by how much."""
    measured[network.spec.family][check].append(float(np.abs(np.asarray(got) - expected).max()))
    np.testing.assert_allclose(got, expected, atol=atol, rtol=0)


def test_every_family_has_a_variant():
    assert {name.split("-")[0] for name in VARIANTS} == set(FAMILIES)


def test_logits_and_states_of_a_right_padded_batch(pair, measured):
    model, _, network, params = pair
    tokens, lengths = random_tokens(4, 24), np.array([24, 17, 9, 1])
    mask = (np.arange(24) < lengths[:, None]).astype(np.int64)
    expected = theirs(model, tokens, mask, output_hidden_states=True)

    @jax.jit
    def ours(params, tokens):
        out = network.hidden(params, tokens[None], collect=lambda x: x)
        return network.logits(params, out.states)[0], out.collected[:, 0], out.states[0]

    logits, collected, states = ours(params, jnp.asarray(tokens))
    real = mask.astype(bool)
    note(measured, network, "padded", logits[real], expected.logits.numpy()[real])
    assert expected.logits.abs().max() > 0.5  # the tolerance means something at this scale
    layers = [layer.numpy() for layer in expected.hidden_states]
    for layer, mine in zip(layers[:-1], collected[:-1], strict=True):
        np.testing.assert_allclose(mine[real], layer[real], atol=ATOL, rtol=1e-5)
    np.testing.assert_allclose(states[real], layers[-1][real], atol=ATOL, rtol=1e-5)  # theirs is normed


def test_logits_behind_a_shared_prefix(pair, measured):
    model, _, network, params = pair
    prefix, rows, lengths = random_tokens(2, 20, seed=1), random_tokens(2, 3, 8, seed=2), np.array([20, 13])

    @jax.jit
    def ours(params, prefix, lengths, rows):
        kv = network.prefix(params, prefix, lengths)
        return network.logits(params, network.hidden(params, rows, kv).states)

    got = ours(params, jnp.asarray(prefix), jnp.asarray(lengths), jnp.asarray(rows))
    expected = []
    for g, length in enumerate(lengths):
        whole = np.concatenate([np.broadcast_to(prefix[g, :length], (3, length)), rows[g]], axis=1)
        expected.append(theirs(model, whole).logits.numpy()[:, length:])
    note(measured, network, "prefix", got, np.stack(expected))


@functools.partial(jax.jit, static_argnums=0)
def step(network, params, token, kv):
    """The logits after one token, and the keys and values with its own behind them."""
    out = network.hidden(params, token.reshape(1, 1, 1), kv, keep_kv=True)
    at = (0, 0, kv.lengths[0], 0, 0)
    k, v = (
        jax.lax.dynamic_update_slice(old, new[:, :, 0], at)
        for old, new in ((kv.k, out.keys_values.k), (kv.v, out.keys_values.v))
    )
    return network.logits(params, out.states)[0, 0, 0], KV(k, v, kv.lengths + 1)


def test_greedy_continuation_step_by_step(pair, measured):
    model, _, network, params = pair
    spec, prompt = network.spec, random_tokens(PROMPT, seed=3).tolist()
    room = jnp.zeros((spec.n_layers, 1, PROMPT + NEW, spec.n_kv_heads, spec.head_dim))
    kv, tokens, logits = KV(room, room, jnp.zeros(1, jnp.int32)), list(prompt), []
    for index in range(PROMPT + NEW - 1):
        row, kv = step(network, params, jnp.int32(tokens[index]), kv)
        logits.append(np.asarray(row))
        if index >= PROMPT - 1:
            tokens.append(int(np.argmax(row)))
    expected = theirs(model, [tokens[:-1]]).logits[0].numpy()
    # Token by token their greedy continuation of the same prompt: each is their best after those before it.
    assert tokens[PROMPT:] == expected[PROMPT - 1 :].argmax(axis=-1).tolist()
    note(measured, network, "steps", np.stack(logits), expected)


def test_exported_back_and_read_by_transformers(pair, measured, tmp_path):
    model, _, network, params = pair
    save_hf(tmp_path, network, params, extra_config={"bos_token_id": 1, "eos_token_id": 2}, max_file_bytes=60_000)
    assert (tmp_path / "model.safetensors.index.json").exists()
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert again.config.eos_token_id == 2 and again.generation_config.bos_token_id == 1
    tokens = random_tokens(2, 24)
    expected = theirs(model, tokens).logits.numpy()
    note(measured, network, "export", theirs(again.float().eval(), tokens).logits.numpy(), expected, 1e-5)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert read_spec(tmp_path) == network.spec


@pytest.fixture
def loaded(tmp_path):
    """What loads a variant by name."""

    def load(name):
        model = build(name)
        model.save_pretrained(tmp_path, safe_serialization=True)
        network = Network(read_spec(tmp_path))
        return model, network, load_hf(tmp_path, network)

    return load


@pytest.mark.parametrize("name", ["qwen3_moe", "qwen3_moe-tied-windows"])
def test_tokens_take_the_same_experts(loaded, name, monkeypatch):
    model, network, params = loaded(name)
    tokens, expected, got = random_tokens(2, 24), [], []
    for layer in model.model.layers:
        layer.mlp.gate.register_forward_hook(lambda _, __, out: expected.append((out[1].numpy(), out[2].numpy())))
    theirs(model, tokens)
    route = moe.route
    monkeypatch.setattr(moe, "route", lambda *arguments: got.append(route(*arguments)) or got[-1])
    with jax.disable_jit():
        network.hidden(params, jnp.asarray(tokens)[None])
    assert len(got) == len(expected) == 3
    for (share, experts), (their_share, their_experts) in zip(got, expected, strict=True):
        np.testing.assert_array_equal(experts, their_experts)
        np.testing.assert_allclose(share, their_share, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_neox", "qwen3_moe"])
def test_gradients_of_the_loss(loaded, name, tmp_path):
    model, network, params = loaded(name)
    tokens = random_tokens(4, 15)
    model.zero_grad()
    logits = model(input_ids=torch.from_numpy(tokens[:, :-1]).long(), use_cache=False).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(tokens[:, 1:]).long().flatten())
    expected.backward()

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        logits = network.logits(params, network.hidden(params, jnp.asarray(tokens[None, :, :-1])).states)[0]
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, 1:, None], axis=-1))

    value, gradients = loss(params)
    assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    save_hf(tmp_path / "gradients", network, gradients)  # in their layout, as if they were weights
    ours = dict(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "gradients").named_parameters())
    assert ours.keys() == dict(model.named_parameters()).keys()
    for key, parameter in model.named_parameters():
        error = (ours[key] - parameter.grad).abs().max() / parameter.grad.abs().max()
        assert error < 1e-4, (key, float(error))


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
def test_bfloat16_folder(name, tmp_path):
    build(name).to(torch.bfloat16).save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, attn_implementation="eager"
    )
    network = Network(read_spec(tmp_path))
    params, tokens = load_hf(tmp_path, network), random_tokens(2, 12)
    ours = network.logits(params, network.hidden(params, jnp.asarray(tokens)[None]).states)[0]
    np.testing.assert_allclose(ours, theirs(again.eval(), tokens).logits.numpy(), atol=ATOL, rtol=0)
