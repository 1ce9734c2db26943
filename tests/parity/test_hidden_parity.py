"""States of claims against transformers: its tokenizer's ids, its `output_hidden_states`, one text at a time."""

import dataclasses

import numpy as np
import torch
import transformers

from slick_jax.longform.belief import claim_rows
from slick_jax.longform.contexts import CONTEXT
from slick_jax.longform.hidden import keep_states, streams
from slick_jax.longform.p_true import odds
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec
from tests.longform.believers import ENTITIES, reader, told


def test_states_log_probabilities_and_contrasts_are_theirs(tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=40, max_position_embeddings=128, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(config).float().eval()
    theirs.save_pretrained(tmp_path / "model")
    network = Network(read_spec(tmp_path / "model"))
    model = dataclasses.replace(reader(), network=network, params=load_hf(tmp_path / "model", network))
    rows, _ = claim_rows(model, told()[1], ENTITIES, CONTEXT)
    states = keep_states(model, rows, tmp_path / "states", {})
    logprob, contrast = np.empty(len(rows)), np.empty(len(rows))
    for numbers, result in model.read(streams, rows):
        logprob[numbers] = result["logprob"]
    tokens = np.full(len(rows), 60), np.full(len(rows), 70)
    for numbers, result in model.read(odds, rows, *tokens):
        contrast[numbers] = result
    for number, row in enumerate(rows):
        given = torch.tensor([row.tokens])
        with torch.no_grad():
            out = theirs(given, output_hidden_states=True)
        hidden = [layer[0, -1].numpy() for layer in out.hidden_states]
        np.testing.assert_allclose(states[:-1, number], hidden[:-1], atol=1e-4)  # their last one is normed
        with torch.no_grad():
            np.testing.assert_allclose(theirs.model.norm(torch.tensor(states[-1, number])), hidden[-1], atol=1e-4)
        logits = out.logits[0, :, : model.tokenizer.n_ids]
        each = torch.log_softmax(logits[:-1], -1).gather(1, given[0, 1:, None])[row.start - 1 :, 0]
        np.testing.assert_allclose(logprob[number], each.mean(), atol=1e-4)
        np.testing.assert_allclose(contrast[number], logits[-1, 60] - logits[-1, 70], atol=1e-4)
