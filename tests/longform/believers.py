"""A random model and a few claims for it to read, small enough that one shape of call holds them all."""

import jax
import numpy as np

from slick_jax.config import MeshConfig
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.longform.reading import Reader
from slick_jax.longform.records import Claim, Entity, Text
from slick_jax.mesh import make_mesh
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from tests.data.small_tokenizers import byte_level_files

SPEC = ModelSpec(vocab_size=320, d_model=16, n_layers=2, n_heads=2, n_kv_heads=2, head_dim=8, d_mlp=16)
ONE = MeshConfig(1, 1, 1)
SPLITS = {"A": "probe", "Bo": "probe", "Cy": "dev", "Di": "dev", "Ed": "train", "Flo": "test"}
ENTITIES = {name: Entity(name, "lives", name, split, f"Who is {name}?", "-") for name, split in SPLITS.items()}
YEARS = ("in 1865", "then", "not in 6519", "and why", "in 19", "1965 or so", "65")


def reader(sizes=ONE, tokens=256, spec=SPEC):
    """A reader on the first devices. Its vocabulary has more rows than its tokenizer has ids."""
    network = Network(spec, scan_layers=False)
    mesh = make_mesh(sizes, jax.devices()[: sizes.data * sizes.fsdp * sizes.tensor])
    params = jax.device_put(network.init(jax.random.key(1)), network.shardings(mesh))
    return Reader(network, params, mesh, Tokenizer(byte_level_files(as_json=True)), tokens)


def told(names=tuple(SPLITS), source="generated"):
    """Texts by id and their claims, a few for each entity; every second one is supported."""
    texts, claims = {}, []
    for name in names:
        text = Text(f"{name}/{source}/0", name, source, 0, "-", 1)
        texts[text.id] = text
        claims += [Claim(f"{text.id}#{i}.0", text.id, name, i, f"{name} rote {year}.") for i, year in enumerate(YEARS)]
    return texts, claims, np.arange(len(claims)) % 2 == 0
