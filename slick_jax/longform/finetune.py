"""Fine-tuning on an arm: the loop of `slick train`, with nothing asked between its epochs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from etils import epath

from slick_jax import tuned
from slick_jax.config import Config, TrainConfig
from slick_jax.files import run_folder
from slick_jax.files.claim import claimed
from slick_jax.files.hashing import digest
from slick_jax.longform.arm_files import file_name
from slick_jax.longform.checkpoint import Checkpoint
from slick_jax.models.transformer import Network, Params
from slick_jax.training import adapters, identity, loop
from slick_jax.training.fine_tuning_data import render
from slick_jax.training.mixture_file import read_mixture

# Settings that change nothing in the results, or speak of questions and other data.
UNCOUNTED = (
    "variant", "mixture", "keep", "keep_every", "writers", "remat", "max_replay_tokens", "max_target_tokens",
    "eval_train_epochs", "eval_dev_epochs", "eval_test_epochs",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One fine-tuning run: an arm of a domain with a seed. folder: of the domain."""

    arm: str
    domain: str
    seed: int
    folder: epath.Path

    @property
    def name(self) -> str:
        """Told in ids of answers, and in file names."""
        return f"{file_name(self.arm)}.{self.domain}.seed-{self.seed}"

    @property
    def place(self) -> epath.Path:
        """Folder of the run."""
        return self.folder / "train" / file_name(self.arm) / f"seed-{self.seed}"

    @property
    def rows(self) -> epath.Path:
        """The arm's training texts."""
        return self.folder / "arms" / f"{file_name(self.arm)}.jsonl"

    def finished(self, config: Config, model: Checkpoint) -> bool:
        """Whether the run has ended, of these settings, rows and model, and left only the checkpoint that stays."""
        done = (self.place / "result.json").exists() and not (self.place / loop.WANTED).exists()
        return done and run_folder.read_json(self.place / "train.json") == self.fields(config, model)

    def fields(self, config: Config, model: Checkpoint) -> dict[str, Any]:
        """All that the trained parameters depend on, the devices left out."""
        lora = adapters.lora_spec(config.train.lora, model.network.spec)
        settings = identity.counted(_settings(config, self.seed), UNCOUNTED, lora)
        return {"train": settings, "rows_sha256": _digest(self.rows), "model": model.protocol}

    def protocol(self, config: Config, model: Checkpoint) -> dict[str, str]:
        """What stands for the trained model in the settings of tables."""
        return {"run": digest(self.fields(config, model))}

    def steps(self, config: Config) -> int:
        """Updates of the whole run."""
        return config.train.epochs * loop.steps_per_epoch(len(read_mixture(self.rows)), config.train)

    def train(self, config: Config, model: Checkpoint, watch: Callable[[], None]) -> None:
        """Do what is left of the run; `watch` is called after every step. The model of the last epoch stays.

        Raises InputError for rows that are too long, a folder of other settings or in use, and a loss that is not
        finite; Stopped after SIGTERM.
        """
        settings, spec = _settings(config, self.seed), model.network.spec
        lora = adapters.lora_spec(settings.lora, spec)
        network = dataclasses.replace(model.network, lora=lora, remat=settings.remat)
        mixture = read_mixture(self.rows)
        rows = render(
            model.style, mixture, max_target=settings.max_target_tokens, max_positions=spec.max_position_embeddings,
            where=model.folder,
        )  # fmt: skip
        with claimed(self.place, "train.json", self.fields(config, model), "result.json"):
            if (self.place / "result.json").exists():
                loop.prune(self.place)
                return
            checkpoints = self.place / "checkpoints"
            identity.describe(checkpoints, model.folder, lora, settings, model.protocol["weights"], model.source)
            ids = [row.id for row in mixture]
            job = loop.Job(
                self.name, self.place, settings, network, model.mesh, model.folder, rows, ids, None, watch=watch
            )
            lines = loop.train(job)
            found = {
                "arm": self.arm, "domain": self.domain, "seed": self.seed, "texts": len(rows), "model": model.name,
                "epochs": settings.epochs, "losses": [line["loss"] for line in lines],
            }  # fmt: skip
            loop.note_wanted(job, lines)
            run_folder.write_json(self.place / "result.json", found)
            loop.prune(self.place)

    def load(self, network: Network, model: Checkpoint) -> Params:
        """The trained parameters, of `network`, on the mesh of the model that they come from."""
        return tuned.find(self.place / "checkpoints", model.folder).load(network, model.mesh)

    def network(self, config: Config, model: Checkpoint) -> Network:
        """The model with its adapters, where it has some; else the one it comes from."""
        return dataclasses.replace(
            model.network, lora=adapters.lora_spec(config.train.lora, model.network.spec)
        )


def _settings(config: Config, seed: int) -> TrainConfig:
    return dataclasses.replace(
        config.train, seed=seed, keep=("last",), keep_every=0, writers=(), eval_train_epochs="none",
        eval_dev_epochs="none", eval_test_epochs="none",
    )  # fmt: skip


def _digest(path: epath.Path) -> str:
    """SHA-256 of the rows' file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
