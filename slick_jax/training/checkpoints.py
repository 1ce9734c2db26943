"""Training checkpoints; the only place that knows Orbax.

A checkpoint folder holds one numbered folder per step and, beside them, config.json and the tokenizer in Hugging Face
format, so that a checkpoint can be exported or measured without its run.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from orbax.checkpoint import v1 as ocp

from slick_jax.errors import InputError
from slick_jax.models.hf_folder import TOKENIZER_FILES
from slick_jax.models.transformer import Network, Params
from slick_jax.training.step import TrainState, on_one_device


class _Kept:
    """Orbax preservation policy: the newest `newest` checkpoints, and the steps of `chosen`, which may change."""

    def __init__(self, newest: int):
        self.newest, self.chosen = newest, set()

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which of the checkpoints, oldest first, stay."""
        old = len(checkpoints) - self.newest
        return [number >= old or found.step in self.chosen for number, found in enumerate(checkpoints)]


class Checkpoints:
    """Numbered checkpoints of one training run; a save that was cut off is not seen again.

    The newest `keep` stay, and the steps named by `choose`. Parameters and the rest are stored apart, so that a reader
    who wants the parameters reads nothing else.
    """

    def __init__(self, folder: str | Path, keep: int = 1):
        self._kept = _Kept(keep)
        self._checkpointer = ocp.training.Checkpointer(
            Path(folder).absolute(), cleanup_tmp_directories=True, preservation_policy=self._kept
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self._checkpointer.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest whole checkpoint."""
        return None if self._checkpointer.latest is None else self._checkpointer.latest.step

    @property
    def steps(self) -> list[int]:
        """Steps of all whole checkpoints, rising."""
        return sorted(found.step for found in self._checkpointer.checkpoints)

    def choose(self, steps: set[int]) -> None:
        """The steps that stay besides the newest ones, from the next save on."""
        self._kept.chosen = set(steps)

    def save(self, state: TrainState, loop: dict | None = None) -> None:
        """Writes `state` under its step number and waits: its buffers are donated to the next step.

        `loop`: what else a training loop needs to go on, as JSON. A checkpoint of this step that is there stays.
        """
        parts = {"params": state.params, "progress": {"step": state.step, "opt_state": state.opt_state}}
        if loop:
            parts["loop"] = loop
        if int(state.step) != self.latest:
            self._checkpointer.save_checkpointables(int(state.step), parts, force=True)

    def load(self, abstract: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the newest), laid out as `abstract` (see `step.abstract_state`)."""
        wanted = {"params": abstract.params, "progress": {"step": abstract.step, "opt_state": abstract.opt_state}}
        found = self._checkpointer.load_checkpointables(step, wanted)
        return TrainState(found["progress"]["step"], found["params"], found["progress"]["opt_state"])

    def load_params(self, abstract: Params, step: int) -> Params:
        """Only the parameters at `step`, laid out as `abstract`."""
        return self._checkpointer.load_checkpointables(step, {"params": abstract})["params"]

    def load_loop(self, step: int | None = None) -> dict:
        """What `save` got as `loop` at `step` (default: the newest)."""
        return self._checkpointer.load_checkpointables(step, {"loop": None})["loop"]

    def delete(self, step: int) -> None:
        """Removes the checkpoint of `step`."""
        self._checkpointer.delete(step)


def describe(folder: str | Path, model: str | Path) -> None:
    """Copies config.json and tokenizer of a Hugging Face folder beside the checkpoints of a run that starts from it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in ("config.json", *TOKENIZER_FILES):
        if (Path(model) / name).is_file():
            shutil.copyfile(Path(model) / name, Path(folder) / name)


def find_step(path: str | Path) -> tuple[Path, int | None]:
    """(checkpoints folder, step) of a path that may end in a step's number; None: the newest."""
    path = Path(path)
    return (path.parent, int(path.name)) if path.name.isdecimal() else (path, None)


def load_params(folder: str | Path, network: Network, mesh: Mesh | None = None, step: int | None = None) -> Params:
    """Only the parameters of a checkpoint folder, at `step` or the newest. Raises InputError when there are none."""
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; give the checkpoints folder of a training run")
    with ocp.training.Checkpointer(Path(folder).absolute()) as checkpointer:
        steps = [checkpoint.step for checkpoint in checkpointer.checkpoints]
        if not steps or (step is not None and step not in steps):
            there = f"there are {', '.join(map(str, steps))}" if steps else "it holds none; give a run's checkpoints"
            raise InputError(f"{folder}: no checkpoint {'' if step is None else f'of step {step} '}there; {there}")
        wanted = network.abstract(mesh) if mesh is not None else on_one_device(network.abstract())
        return checkpointer.load_checkpointables(step, {"params": wanted})["params"]
