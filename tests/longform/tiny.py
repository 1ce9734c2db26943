"""A tiny model with random weights and a byte-level tokenizer, for all tests of this room that forward."""

import functools

import jax

from slick_jax.config import MeshConfig
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import spec_from_hf
from slick_jax.models.transformer import Network
from tests.data.small_tokenizers import byte_level_files
from tests.families import config_of


@functools.cache
def model():
    """(network, params, tokenizer): weights large enough that draws differ."""
    tokenizer = Tokenizer(byte_level_files(as_json=True), where="tiny")
    config = config_of("llama") | {"vocab_size": tokenizer.size, "max_position_embeddings": 512}
    network = Network(spec_from_hf(config, "tiny"), scan_layers=False)
    params = jax.tree.map(lambda p: 3 * p if p.ndim > 2 else p, network.init(jax.random.key(1)))
    return network, params, tokenizer


def one_device():
    return make_mesh(MeshConfig(), jax.devices()[:1])


def eight_devices():
    return make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
