"""The sampler's greedy draw against transformers' `generate`, family by family."""

import jax
import numpy as np
import pytest
import torch

from slick_jax.config import MeshConfig
from slick_jax.mesh import make_mesh
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec
from slick_jax.sampling.sampler import Prompt, Sampler
from tests.families import VARIANTS, VOCABULARY
from tests.parity.test_families_parity import build

NEW, EOS = 20, 2


@pytest.mark.parametrize("name", [name for name in VARIANTS if "-" not in name])
def test_greedy_texts_are_those_of_generate(name, tmp_path):
    model = build(name)
    model.save_pretrained(tmp_path, safe_serialization=True)
    network = Network(read_spec(tmp_path))
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, VOCABULARY, length).tolist() for length in (3, 9, 14, 14)]
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        sampler = Sampler(
            network, mesh, stops=np.arange(VOCABULARY) == EOS, numbers=(0,), max_tokens=NEW, rows=8, lengths=(16,)
        )
        found = sampler(load_hf(tmp_path, network, mesh), [Prompt(one, (0, 0, 0)) for one in prompts])
    for prompt, (text,) in zip(prompts, found, strict=True):
        row = torch.tensor([prompt])
        expected = model.generate(
            row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=NEW, eos_token_id=EOS
        )
        assert text == expected[0, len(prompt) :].tolist()
