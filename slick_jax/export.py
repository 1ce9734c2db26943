"""`slick export`: the parameters of a training checkpoint as a Hugging Face folder."""

from __future__ import annotations

from slick_jax.config import Config
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.transformer import Network
from slick_jax.training.checkpoints import load_params


def run(config: Config) -> None:
    """Write the newest checkpoint of `config.export.checkpoint` to `config.export.out`, with config.json and tokenizer.

    Raises InputError when there is no checkpoint, or no model description beside it.
    """
    export = config.export
    network = Network(weights.read_spec(export.checkpoint))
    params = load_params(export.checkpoint, network, make_mesh(config.mesh))
    weights.save_hf(export.out, network, params, tokenizer_folder=export.checkpoint)
    print(f"export: {export.out}")
