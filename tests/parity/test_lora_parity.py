"""Adapters against peft: what an exported adapter computes, gradients, and AdamW steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from slick_jax.config import TrainConfig
from slick_jax.errors import InputError
from slick_jax.models.lora import LoraSpec, join, merge, resolve
from slick_jax.models.peft_folder import TENSORS, load_adapter, read_lora, save_adapter
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec, save_hf
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, TrainState, loss_and_gradients, train_step
from tests.families import VOCABULARY
from tests.parity.test_families_parity import build

RTOL = 1e-4
# Variant -> adapters: plain maps, some of them, joined and per-head modules, kernels [inputs, outputs], experts.
ADAPTED = {
    "llama-tied-biases": LoraSpec(3, 5.0, ()),
    "gemma2": LoraSpec(4, 2.0, ("q_proj", "down_proj"), rslora=True),
    "phi3": LoraSpec(3, 7.0, (), rslora=True),
    "gpt_neox": LoraSpec(2, 3.0, ()),
    "gpt2": LoraSpec(2, 3.0, ("c_attn", "c_proj")),
    "qwen3_moe": LoraSpec(3, 4.0, ()),
}


def logits_of(model, tokens):
    with torch.no_grad():
        return model(input_ids=torch.from_numpy(tokens).long(), use_cache=False).logits.numpy()


def ours(network, params, tokens):
    return network.logits(params, network.hidden(params, jnp.asarray(tokens)[None]).states[0])


def random_adapters(network, std=0.2):
    """Adapters of which neither factor is zero."""
    leaves, tree = jax.tree.flatten(network.abstract())
    keys = jax.random.split(jax.random.key(3), len(leaves))
    return tree.unflatten([std * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)])


@pytest.mark.parametrize("variant", ADAPTED)
def test_exports_compute_the_same_in_peft_and_transformers(variant, tmp_path):
    model = build(variant)
    model.save_pretrained(tmp_path / "base")
    spec = read_spec(tmp_path / "base")
    network = Network(spec, lora=resolve(spec, ADAPTED[variant], "here"))
    base, adapters = load_hf(tmp_path / "base", network), random_adapters(network)
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, (3, 11)).astype(np.int32)
    got = ours(network, join(base, adapters), tokens)
    assert np.abs(got - logits_of(model, tokens)).max() > 0.05  # the adapters matter

    save_adapter(tmp_path / "adapter", spec, network.lora, adapters, base=str(tmp_path / "base"))
    assert read_lora(tmp_path / "adapter", spec) == network.lora
    read = load_adapter(tmp_path / "adapter", network)
    jax.tree.map(np.testing.assert_array_equal, read, adapters)

    save_hf(tmp_path / "merged", Network(spec), merge(network.lora, base, adapters))
    merged = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", dtype=torch.float32, attn_implementation="eager"
    )
    np.testing.assert_allclose(logits_of(merged.eval(), tokens), got, atol=1e-4, rtol=0)
    theirs = peft.PeftModel.from_pretrained(model, str(tmp_path / "adapter")).eval()
    np.testing.assert_allclose(logits_of(theirs, tokens), got, atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", ["gpt2", "gpt_neox", "phi3"])
def test_one_adapter_of_peft_for_a_shared_module_is_read(variant, tmp_path):
    model = build(variant)
    model.save_pretrained(tmp_path / "base")
    spec = read_spec(tmp_path / "base")
    lora = resolve(spec, LoraSpec(2, 3.0, ()), "here")
    theirs = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=3, target_modules=list(lora.targets),
                                                        init_lora_weights=False)).eval()  # fmt: skip
    theirs.save_pretrained(tmp_path / "adapter")
    network = Network(spec, lora=read_lora(tmp_path / "adapter", spec))
    params = join(load_hf(tmp_path / "base", network), load_adapter(tmp_path / "adapter", network))
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, (3, 11)).astype(np.int32)
    np.testing.assert_allclose(ours(network, params, tokens), logits_of(theirs, tokens), atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def rows():
    """6 rows of different lengths, padded to 12, with loss on the last part of each only."""
    rng = np.random.default_rng(0)
    tokens, targets, weights = (np.zeros((6, 12), kind) for kind in (np.int32, np.int32, np.float32))
    for row in range(6):
        length, prompt = 7 + row % 5, 2 + row % 3
        text = rng.integers(1, VOCABULARY, length + 1)
        tokens[row, :length], targets[row, :length] = text[:-1], text[1:]
        weights[row, prompt:length] = 1.0
    return Rows(jnp.asarray(tokens), jnp.asarray(targets), jnp.asarray(weights))


def torch_loss(model, rows):
    tokens, targets, weights = (torch.tensor(np.asarray(part)) for part in rows[:3])
    logits = model(input_ids=tokens.long(), attention_mask=torch.ones_like(tokens)).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.long().flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


def assert_close(network, tree, theirs, folder):
    """Within RTOL of the largest entry of each tensor, in peft's names and layout."""
    save_adapter(folder, network.spec, network.lora, tree, base="")
    found = load_file(folder / TENSORS)
    assert found.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert (found[name] - expected).abs().max() / expected.abs().max() < RTOL, name


@pytest.mark.parametrize(
    "variant, rslora", [("llama-tied-biases", False), ("llama", True), ("gemma3_text", False)]
)
def test_gradients_and_adamw_steps_are_those_of_peft(variant, rslora, rows, tmp_path):
    model = build(variant)
    model.save_pretrained(tmp_path / "base")
    spec = read_spec(tmp_path / "base")
    config = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules="all-linear", init_lora_weights=False, use_rslora=rslora
    )
    theirs = peft.get_peft_model(model, config)
    theirs.save_pretrained(tmp_path / "adapter")
    network = Network(spec, lora=read_lora(tmp_path / "adapter", spec))
    assert network.lora == resolve(spec, LoraSpec(3, 5, (), rslora=rslora), "here")
    base, adapters = load_hf(tmp_path / "base", network), load_adapter(tmp_path / "adapter", network)

    def named(of):
        return {
            name.replace(".default", ""): of(value).detach().clone()
            for name, value in theirs.named_parameters()
            if value.requires_grad
        }

    expected = torch_loss(theirs, rows)
    expected.backward()
    loss, gradients = loss_and_gradients(
        network, adapters, rows, dropout=0.0, rng=None, accumulate=1, frozen=base
    )
    assert float(loss) == pytest.approx(expected.item(), rel=RTOL)
    assert_close(network, gradients, named(lambda value: value.grad), tmp_path / "gradients")

    settings = TrainConfig(peak_lr=1e-2, clip_norm=0.05, eps=1e-4, weight_decay=0.1)
    optimizer = make_optimizer(settings, 3, network.decay_mask())
    state = TrainState(jnp.int32(0), adapters, optimizer.init(adapters))
    trained = [value for value in theirs.parameters() if value.requires_grad]
    peer = torch.optim.AdamW(trained, lr=1e-2, betas=(0.9, settings.b2), eps=1e-4, weight_decay=0.1)
    step = jax.jit(lambda state, base: train_step(network, optimizer, state, rows, accumulate=2, frozen=base))
    for _ in range(3):
        state, measured = step(state, base)
        peer.zero_grad()
        expected = torch_loss(theirs, rows)
        expected.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, settings.clip_norm)
        assert norm > settings.clip_norm, "nothing would be clipped"
        peer.step()
        assert float(measured.loss) == pytest.approx(expected.item(), rel=RTOL)
        assert float(measured.gradient_norm) == pytest.approx(norm.item(), rel=RTOL)
    assert_close(network, state.params, named(lambda value: value), tmp_path / "trained")


def test_what_is_no_plain_lora_is_refused(tmp_path):
    build("llama").save_pretrained(tmp_path / "base")
    spec = read_spec(tmp_path / "base")
    plain = peft.LoraConfig(r=2, target_modules=["q_proj"])
    for change, what in (
        ({"use_dora": True}, "use_dora is True"),
        ({"layers_to_transform": [1]}, r"layers_to_transform is \[1\]"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"rank_pattern": {"layers.1.self_attn.q_proj": 4}}, "rank_pattern or alpha_pattern"),
    ):
        config = dataclasses.replace(plain, **change)
        peft.get_peft_model(build("llama"), config).save_pretrained(tmp_path / "adapter")
        with pytest.raises(InputError, match=what):
            read_lora(tmp_path / "adapter", spec)
