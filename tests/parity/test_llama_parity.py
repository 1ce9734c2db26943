"""The decoder against transformers: tiny random llamas, loaded here and exported back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec, save_hf

ATOL = 1e-4
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip

# Sizes are odd on purpose: head_dim 10 is not 48 / 6, and two query heads share each of 3 key-value heads.
VARIANTS = {
    "untied": dict(tie_word_embeddings=False),
    "tied": dict(tie_word_embeddings=True),
    "biases": dict(tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
    "attention_bias": dict(tie_word_embeddings=True, attention_bias=True),
    "mlp_bias": dict(tie_word_embeddings=True, mlp_bias=True),
    "gelu": dict(hidden_act="gelu_pytorch_tanh"),
    "rope_base": dict(rope_parameters={"rope_type": "default", "rope_theta": 777.0}, rms_norm_eps=1e-3),
    "rope_linear": dict(rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    "rope_llama3": dict(rope_parameters=LLAMA3),
    "one_kv_head": dict(num_key_value_heads=1),
}


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request, tmp_path_factory):
    """A random llama by transformers, its folder, and the network and parameters read from that folder."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{
        "vocab_size": 67, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6,
        "num_key_value_heads": 3, "head_dim": 10, "intermediate_size": 88, "max_position_embeddings": 128,
        "attn_implementation": "eager", **VARIANTS[request.param],
    })  # fmt: skip
    model = transformers.LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases start constant: noise makes each of them matter
            parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder, safe_serialization=True)
    network = Network(read_spec(folder))
    return model, folder, network, load_hf(folder, network)


def theirs(model, tokens, mask=None):
    with torch.no_grad():
        mask = None if mask is None else torch.from_numpy(mask)
        return model(input_ids=torch.from_numpy(np.asarray(tokens)).long(), attention_mask=mask).logits.numpy()


def random_tokens(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 67, shape).astype(np.int32)


def test_logits_of_a_right_padded_batch(pair):
    model, _, network, params = pair
    tokens, lengths = random_tokens(4, 24), np.array([24, 17, 9, 1])
    mask = (np.arange(24) < lengths[:, None]).astype(np.int64)
    expected = theirs(model, tokens, mask)
    ours = jax.jit(lambda p, t: network.logits(p, network.hidden(p, t[None]).states)[0])(params, jnp.asarray(tokens))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(ours[row, :length], expected[row, :length], atol=ATOL, rtol=0)
    assert np.abs(expected).max() > 0.5  # the tolerance means something at this scale


def test_logits_behind_a_shared_prefix(pair):
    model, _, network, params = pair
    prefix, rows, lengths = random_tokens(2, 20, seed=1), random_tokens(2, 3, 8, seed=2), np.array([20, 13])

    @jax.jit
    def ours(params, prefix, lengths, rows):
        kv = network.prefix(params, prefix, lengths)
        return network.logits(params, network.hidden(params, rows, kv).states)

    got = ours(params, jnp.asarray(prefix), jnp.asarray(lengths), jnp.asarray(rows))
    for g, length in enumerate(lengths):
        whole = np.concatenate([np.broadcast_to(prefix[g, :length], (3, length)), rows[g]], axis=1)
        np.testing.assert_allclose(got[g], theirs(model, whole)[:, length:], atol=ATOL, rtol=0)


def test_hidden_states_of_every_layer(pair):
    model, _, network, params = pair
    tokens = random_tokens(2, 12)
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(tokens).long(), output_hidden_states=True).hidden_states
    out = network.hidden(params, jnp.asarray(tokens)[None], collect=jnp.asarray)
    for ours, layer in zip(out.collected[:-1, 0], expected[:-1], strict=True):
        np.testing.assert_allclose(ours, layer.numpy(), atol=ATOL, rtol=0)
    np.testing.assert_allclose(out.states[0], expected[-1].numpy(), atol=ATOL, rtol=0)  # theirs is normed


def test_exported_back_and_read_by_transformers(pair, tmp_path):
    model, _, network, params = pair
    save_hf(tmp_path, network, params, extra_config={"bos_token_id": 1, "eos_token_id": 2})
    again, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert again.config.eos_token_id == 2 and again.generation_config.bos_token_id == 1
    tokens = random_tokens(2, 24)
    np.testing.assert_allclose(theirs(again.float().eval(), tokens), theirs(model, tokens), atol=1e-5, rtol=0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_bfloat16_folder(pair, tmp_path):
    model, _, network, _ = pair
    half = transformers.LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.to(torch.bfloat16).save_pretrained(tmp_path)
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    params, tokens = load_hf(tmp_path, network), random_tokens(2, 12)
    ours = network.logits(params, network.hidden(params, jnp.asarray(tokens)[None]).states)[0]
    np.testing.assert_allclose(ours, theirs(again.eval(), tokens), atol=ATOL, rtol=0)
