"""`slick export`: the parameters of a training checkpoint as a Hugging Face folder."""

from __future__ import annotations

from slick_jax.config import Config
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.transformer import Network
from slick_jax.training.checkpoints import find_step, load_params


def run(config: Config) -> None:
    """Write `config.export.checkpoint` to `config.export.out`, with config.json and tokenizer.

    That is a checkpoints folder, of which the newest is taken, or the folder of one step in it.

    Raises InputError when there is no checkpoint, or no model description beside it.
    """
    export = config.export
    folder, step = find_step(export.checkpoint)
    network = Network(weights.read_spec(folder))
    params = load_params(folder, network, make_mesh(config.mesh), step)
    weights.save_hf(export.out, network, params, tokenizer_folder=folder)
    print(f"export: {export.out}")
