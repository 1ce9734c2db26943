"""`slick export`: the parameters of a training checkpoint as a Hugging Face folder, or its adapters as PEFT's."""

from __future__ import annotations

from pathlib import Path

from slick_jax.config import Config
from slick_jax.errors import InputError
from slick_jax.files import stores
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.lora import merge
from slick_jax.models.peft_folder import save_adapter
from slick_jax.models.transformer import Network
from slick_jax.training.adapters import describe, load_base, origin_of
from slick_jax.training.checkpoints import description, find_step, load_params
from slick_jax.tuned import base_of


def run(config: Config) -> Path:
    """Write `config.export.checkpoint` to `config.export.out`, which is returned, with tokenizer.

    That is a checkpoints folder, of which the newest is taken, or the folder of one step in it. A LoRA checkpoint
    becomes a model like any other, merged in float32 with its base, or with export.lora='adapter' a PEFT folder.

    Raises InputError when there is no checkpoint, no model description beside it, or not the base that it needs.
    """
    export = config.export
    folder, step = find_step(export.checkpoint)
    described = description(folder)
    origin = origin_of(described)
    # Writing clears a model out of `out`: it must be none that is still needed.
    sources = {folder, config.model.path or folder, origin.base if origin else folder}
    if stores.absolute(export.out) in {stores.absolute(source) for source in sources}:
        raise InputError(f"export.out: {export.out!r} is what is exported, or its base model; give a folder of its own")
    if origin is None and export.lora == "adapter":
        raise InputError(f"export.lora: 'adapter', but {folder} is no LoRA run; leave export.lora at 'merged'")
    mesh, spec = make_mesh(config.mesh), weights.read_spec(described)
    network = Network(spec, lora=origin and origin.lora)
    params = load_params(folder, network, mesh, step)
    if export.lora == "adapter":
        repo, _, commit = origin.source.partition("@")
        named = {"base": repo or base_of(origin, config.model.path), "revision": commit or None}
        save_adapter(export.out, spec, origin.lora, params, **named, tokenizer_folder=described)
        describe(export.out, origin)  # peft does not look at it; `slick evaluate` asks the base as it was trained on
    else:
        if origin is not None:
            params = merge(origin.lora, load_base(origin, network, mesh, base_of(origin, config.model.path)), params)
        weights.save_hf(export.out, network, params, tokenizer_folder=described)
    print(f"export: {export.out}")
    return Path(export.out)
