"""LoRA in training: what the settings ask for, and the record that leads from a checkpoint to its frozen base."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from etils import epath
from jax.sharding import Mesh

from slick_jax.config import LoraConfig
from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.models import weights
from slick_jax.models.lora import LoraSpec, resolve
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network, Params

RECORD = "lora.json"  # beside the checkpoints, which hold the adapters alone


@dataclass(frozen=True)
class Origin:
    """What the adapters of a checkpoint belong to: base model (folder and fingerprint) and the dtype it was held in.

    source: `org/name@commit` where the base came from the hub, else empty.
    """

    lora: LoraSpec
    base: str
    fingerprint: str
    base_dtype: str
    source: str = ""

    def find_base(self, other: str = "") -> str:
        """The folder of the base model: where it was, or `other`. Raises InputError when neither holds that model."""
        tried = []
        for folder in dict.fromkeys((self.base, other)):
            if not folder:
                continue
            try:
                if weights.fingerprint(folder) == self.fingerprint:
                    return folder
                tried.append(f"{folder} holds another model")
            except InputError as error:
                tried.append(str(error))
        raise InputError(
            f"the adapters need the model that they were trained on, and it was not found ({'; '.join(tried)});"
            " give its folder as config.model.path"
        )


def lora_spec(settings: LoraConfig, spec: ModelSpec) -> LoraSpec | None:
    """The adapters that the settings ask for, None for rank 0. Raises InputError on targets that are not there."""
    if not settings.rank:
        return None
    asked = LoraSpec(settings.rank, settings.alpha, settings.targets, settings.dropout, settings.rslora)
    return resolve(spec, asked, "config.train.lora.targets")


def describe(folder: epath.PathLike, origin: Origin | None) -> None:
    """Writes the record beside the checkpoints of a LoRA run; of another run there is none."""
    if origin is None:
        (epath.Path(folder) / RECORD).unlink(missing_ok=True)
    else:
        run_folder.write_json(epath.Path(folder) / RECORD, dataclasses.asdict(origin))


def origin_of(folder: epath.PathLike) -> Origin | None:
    """The record of a checkpoints folder; None where all parameters were trained."""
    path = epath.Path(folder) / RECORD
    found = run_folder.read_object(path)
    if found is None:
        return None
    try:
        lora = LoraSpec(**{**found["lora"], "targets": tuple(found["lora"]["targets"])})
        return Origin(**{**found, "lora": lora})
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a record of a LoRA run ({error}); copy it again") from error


def load_base(origin: Origin, network: Network, mesh: Mesh, model: str = "") -> Params:
    """The frozen parameters that the adapters were trained on; `model` is where to look besides the recorded place."""
    return weights.load_hf(origin.find_base(model), network, mesh, origin.base_dtype)

