"""A model as it can be asked: a Hugging Face folder, a training checkpoint, or adapters and the model they are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from etils import epath
from jax.sharding import Mesh

from slick_jax.config import ModelConfig
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.files import stores
from slick_jax.models import hub, peft_folder, weights
from slick_jax.models.lora import LoraSpec, join
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network, Params
from slick_jax.training.adapters import Origin, load_base, origin_of
from slick_jax.training.checkpoints import description, find_step, load_params


@dataclass(frozen=True)
class Tuned:
    """A model that was found, with nothing of its weights read.

    folder: has the tokenizer; load: all parameters, of a network of `spec` and `lora`, sharded over a mesh.
    """

    folder: Path
    spec: ModelSpec
    lora: LoraSpec | None
    load: Callable[[Network, Mesh], Params]


def find(checkpoint: epath.PathLike, model: str = "") -> Tuned:
    """The model of a Hugging Face folder, of a PEFT folder, of a run's checkpoints (the newest), or a step in them.

    `model` is where the base of adapters is looked for besides the place they name. Raises InputError when there is no
    checkpoint, or not the base that it needs.
    """
    if not stores.is_store(checkpoint) and (Path(checkpoint) / peft_folder.CONFIG).is_file():
        return _adapter(Path(checkpoint), model)
    folder, step = find_step(checkpoint)
    described = description(folder)
    spec = weights.read_spec(described)
    if step is None and not _is_training(folder):
        if stores.is_store(folder):
            raise InputError(f"{folder}: holds no checkpoints; models are read from local folders, so copy it to one")
        return Tuned(described, spec, None, lambda network, mesh: weights.load_hf(described, network, mesh))
    origin = origin_of(described)

    def load(network: Network, mesh: Mesh) -> Params:
        base = None if origin is None else load_base(origin, network, mesh, base_of(origin, model))
        return join(base, load_params(folder, network, mesh, step))

    return Tuned(described, spec, origin and origin.lora, load)


def open_model(checkpoint: epath.PathLike, settings: ModelConfig) -> tuple[Tuned, Network, Tokenizer]:
    """A model as `find` finds it, its network in the arithmetic of `settings`, and its tokenizer. Raises as `find`."""
    model = find(checkpoint, settings.path)
    network = Network(model.spec, settings.dtype, settings.precision, settings.scan_layers, lora=model.lora)
    return model, network, Tokenizer.from_folder(model.folder, network.spec.vocab_size)


def pin(checkpoint: str | Path) -> str:
    """The checkpoint, with the step that is the newest now where it is a training run's and names none."""
    folder, step = find_step(checkpoint)
    named = step is not None or not folder.is_dir()
    if named or (folder / peft_folder.CONFIG).is_file() or not _is_training(folder):
        return str(checkpoint)
    return str(folder / str(max(int(path.name) for path in folder.iterdir() if path.name.isdecimal())))


def base_of(origin: Origin, model: str) -> str:
    """The folder of the model that adapters were trained on: where it was, else `model`, a folder or a hub id that is
    fetched only then. Raises InputError when neither is that model."""
    try:
        return origin.find_base()
    except InputError:
        return origin.find_base(hub.resolve(model, "model.path, the base of the adapters").folder)


def _adapter(folder: Path, model: str) -> Tuned:
    named, origin = peft_folder.base_of(folder), origin_of(folder)
    base = next((Path(path) for path in (named, model) if path and (Path(path) / "config.json").is_file()), None)
    if base is None and not (model or named):
        raise InputError(f"{folder}: names no base model; give its folder as config.model.path")
    if base is None:  # a hub id, as peft writes it
        base = Path(hub.resolve(model or named, "model.path, the base of the adapters").folder)
    spec = weights.read_spec(base)
    lora = peft_folder.read_lora(folder, spec)

    def load(network: Network, mesh: Mesh) -> Params:
        dtype = "float32" if origin is None else origin.base_dtype
        return join(weights.load_hf(base, network, mesh, dtype), peft_folder.load_adapter(folder, network, mesh))

    return Tuned(base, spec, lora, load)


def _is_training(folder: epath.Path) -> bool:
    """Whether the folder holds numbered checkpoints and no weights of its own."""
    return not any(folder.glob("*.safetensors*")) and any(path.name.isdecimal() for path in folder.iterdir())
