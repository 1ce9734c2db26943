"""Training checkpoints; the only place that knows Orbax.

A checkpoint folder holds one numbered folder per step and, beside them, config.json and the tokenizer in Hugging Face
format, so that a checkpoint can be exported or measured without its run.
"""

from pathlib import Path

from jax.sharding import Mesh
from orbax.checkpoint import v1 as ocp

from slick_jax.errors import InputError
from slick_jax.models.transformer import Network, Params
from slick_jax.training.step import TrainState, on_one_device


class Checkpoints:
    """Numbered checkpoints of one training run, newest kept; a save that was cut off is not seen again.

    Parameters and the rest are stored apart, so that a reader who wants the parameters reads nothing else.
    """

    def __init__(self, folder: str | Path, keep: int = 1):
        self._checkpointer = ocp.training.Checkpointer(
            Path(folder).absolute(),
            cleanup_tmp_directories=True,
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self._checkpointer.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest whole checkpoint."""
        return None if self._checkpointer.latest is None else self._checkpointer.latest.step

    def save(self, state: TrainState) -> None:
        """Writes `state` under its step number and waits: its buffers are donated to the next step."""
        parts = {"params": state.params, "progress": {"step": state.step, "opt_state": state.opt_state}}
        self._checkpointer.save_checkpointables(int(state.step), parts, force=True)

    def load(self, abstract: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the newest), laid out as `abstract` (see `step.abstract_state`)."""
        wanted = {"params": abstract.params, "progress": {"step": abstract.step, "opt_state": abstract.opt_state}}
        found = self._checkpointer.load_checkpointables(step, wanted)
        return TrainState(found["progress"]["step"], found["params"], found["progress"]["opt_state"])


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
