"""One training step against torch: loss, gradients and the AdamW update, with padding, accumulation and clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from slick_jax.config import TrainConfig
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec, save_hf
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, TrainState, loss_and_gradients, train_step

RTOL = 1e-4


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pair(request, tmp_path_factory):
    """A random llama by transformers, and our network and parameters read from its folder."""
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=131, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=3, head_dim=10, tie_word_embeddings=request.param, initializer_range=0.2,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).float()
    folder = tmp_path_factory.mktemp("llama")
    theirs.save_pretrained(folder)
    network = Network(read_spec(folder))
    return theirs, network, load_hf(folder, network)


@pytest.fixture(scope="module")
def rows():
    """8 rows of different lengths, padded to 13, with loss on the last part of each only."""
    rng = np.random.default_rng(0)
    tokens, targets, weights = (np.zeros((8, 13), kind) for kind in (np.int32, np.int32, np.float32))
    for row in range(8):
        length, prompt = 6 + row % 7, 2 + row % 3
        text = rng.integers(1, 131, length + 1)
        tokens[row, :length], targets[row, :length] = text[:-1], text[1:]
        weights[row, prompt:length] = 1.0
    return Rows(jnp.asarray(tokens), jnp.asarray(targets), jnp.asarray(weights))


def torch_loss(model, rows):
    tokens, targets, weights = (torch.tensor(np.asarray(part)) for part in rows[:3])
    logits = model(input_ids=tokens.long(), attention_mask=torch.ones_like(tokens)).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.long().flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


def in_their_layout(network, tree, folder):
    """Parameters or gradients under the names and in the layout of transformers."""
    save_hf(folder, network, tree)
    return load_file(folder / "model.safetensors")


def assert_close(ours, theirs):
    """Within RTOL of the largest entry of each tensor."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        error = (ours[name] - expected).abs().max() / expected.abs().max()
        assert error < RTOL, (name, float(error))


def named(model, of):
    """{name: tensor} of the distinct parameters, as saved: a tied head is not written twice."""
    return {name: of(value).detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("accumulate", [1, 4])
def test_loss_and_gradients(pair, rows, accumulate, tmp_path):
    theirs, network, params = pair
    theirs.zero_grad()
    expected = torch_loss(theirs, rows)
    expected.backward()
    loss, gradients = jax.jit(
        lambda p: loss_and_gradients(network, p, rows, dropout=0.0, rng=None, accumulate=accumulate)
    )(params)
    assert float(loss) == pytest.approx(expected.item(), rel=RTOL)
    assert_close(in_their_layout(network, gradients, tmp_path), named(theirs, lambda p: p.grad))


def test_clipped_adamw_steps(pair, rows, tmp_path):
    theirs, network, params = pair
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    settings = TrainConfig(peak_lr=1e-2, clip_norm=0.05, eps=1e-4, weight_decay=0.0)
    optimizer = make_optimizer(settings, 3, network.decay_mask())
    state = TrainState(jnp.int32(0), params, optimizer.init(params))
    peer = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, settings.b2), eps=1e-4, weight_decay=0.0)
    for _ in range(3):
        state, measured = train_step(network, optimizer, state, rows, accumulate=2)
        peer.zero_grad()
        expected = torch_loss(theirs, rows)
        expected.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), settings.clip_norm)
        assert norm > settings.clip_norm, "nothing would be clipped"
        peer.step()
        assert float(measured.loss) == pytest.approx(expected.item(), rel=RTOL)
        assert float(measured.gradient_norm) == pytest.approx(norm.item(), rel=RTOL)
    assert_close(in_their_layout(network, state.params, tmp_path), named(theirs, lambda p: p))
    theirs.load_state_dict(before)
