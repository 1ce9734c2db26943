"""Training checkpoints; the only place that knows Orbax.

A checkpoint folder holds one numbered folder per step and, beside them, config.json and the tokenizer in Hugging Face
format, so that a checkpoint can be exported or measured without its run.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging
from etils import epath
from jax.sharding import Mesh
from orbax.checkpoint import v1 as ocp

from slick_jax.errors import InputError
from slick_jax.files import run_folder, stores
from slick_jax.models.hf_folder import TOKENIZER_FILES
from slick_jax.models.transformer import Network, Params
from slick_jax.processes import signals
from slick_jax.training import adapters
from slick_jax.training.step import TrainState, on_one_device

LISTED_WITHIN = 90.0  # seconds after which a file that another process has seen is not the same file system's
LEAST_PIECE = 1 << 20  # bytes: of an array that several devices hold whole each writes a piece, where it is as large
_ERRORS = (OSError, ValueError, RuntimeError)  # TensorStore tells of a full disk by ValueError


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

    def __init__(self, folder: epath.PathLike, keep: int = 1):
        self._kept, self._folder = _Kept(keep), folder
        self._checkpointer = ocp.training.Checkpointer(
            _place(folder), cleanup_tmp_directories=True, preservation_policy=self._kept
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        # Orbax raises a failed save once more when it is closed; the first error says it all.
        with signals.put_off():
            # A thread of Orbax's removes what was cut off, and only a save waits for it: where the process ended
            # meanwhile, it would print a traceback.
            cleaning = getattr(getattr(self._checkpointer, "_manager", None), "_cleanup_tmp_directory_future", None)
            if cleaning is not None:
                with contextlib.suppress(*_ERRORS):  # a save tells of them
                    cleaning.result()
            with contextlib.suppress(*_ERRORS) if kind else contextlib.nullcontext():
                self._checkpointer.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest whole checkpoint."""
        return None if self._checkpointer.latest is None else self._checkpointer.latest.step

    @property
    def steps(self) -> list[int]:
        """Steps of all whole checkpoints, rising."""
        return sorted(found.step for found in self._checkpointer.checkpoints)

    def await_step(self, step: int) -> None:
        """Wait until the checkpoint of `step`, which process 0 has found, is seen here as well: a network file system
        may take a minute. Raises InputError where it does not come."""
        until = time.monotonic() + LISTED_WITHIN
        while step not in self.steps:
            if time.monotonic() > until:
                raise InputError(
                    f"{self._folder}: process 0 sees a checkpoint of step {step} there, and process"
                    f" {jax.process_index()} does not; give all processes one folder that they share"
                )
            time.sleep(1)
            self._checkpointer.reload()

    def choose(self, steps: set[int]) -> None:
        """The steps that stay besides the newest ones, from the next save on."""
        self._kept.chosen = set(steps)

    def save(self, state: TrainState, loop: dict | None = None) -> None:
        """Writes `state` under its step number and waits: its buffers are donated to the next step.

        `loop`: what else a training loop needs to go on, as JSON. A checkpoint of this step that is there stays.
        Raises InputError where it cannot be written; the checkpoints before it are untouched then.
        """
        parts = {"params": state.params, "progress": {"step": state.step, "opt_state": state.opt_state}}
        if int(state.step) != self.latest:
            size, free = sum(leaf.nbytes for leaf in jax.tree.leaves(parts)), _free(self._folder)
            if size > free:  # found before any is written, and before Orbax prints its threads' tracebacks
                raise InputError(
                    f"{self._folder}: the checkpoint of step {int(state.step)} takes {size / 1e6:,.1f} MB and the disk"
                    f" has {free / 1e6:,.1f} MB left; free space and run it again"
                )
            if loop:
                parts["loop"] = loop
            context = ocp.Context()
            context.array.saving.min_slice_bytes_for_replica_parallel = LEAST_PIECE
            with _writing(self._folder, f"the checkpoint of step {int(state.step)}"), context:
                self._checkpointer.save_checkpointables(int(state.step), parts, force=True)

    def load(self, abstract: TrainState, step: int | None = None) -> TrainState:
        """The state at `step` (default: the newest), laid out as `abstract` (see `step.abstract_state`)."""
        wanted = {"params": abstract.params, "progress": {"step": abstract.step, "opt_state": abstract.opt_state}}
        found = self._read(step, wanted)
        return TrainState(found["progress"]["step"], found["params"], found["progress"]["opt_state"])

    def load_params(self, abstract: Params, step: int) -> Params:
        """Only the parameters at `step`, laid out as `abstract`."""
        return self._read(step, {"params": abstract})["params"]

    def load_loop(self, step: int | None = None) -> dict:
        """What `save` got as `loop` at `step` (default: the newest)."""
        return self._read(step, {"loop": None})["loop"]

    def _read(self, step: int | None, wanted: dict) -> dict:
        number = self.latest if step is None else step
        return _read(self._checkpointer, epath.Path(self._folder) / str(number), step, wanted)

    def delete(self, step: int) -> None:
        """Removes the checkpoint of `step`."""
        with signals.put_off():
            self._checkpointer.delete(step)


def describe(folder: epath.PathLike, model: str | Path) -> None:
    """Copies config.json and tokenizer of a Hugging Face folder beside the checkpoints of a run that starts from it."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (Path(model) / name).is_file():
            run_folder.write_bytes(epath.Path(folder) / name, (Path(model) / name).read_bytes())


def description(folder: epath.PathLike) -> Path:
    """A local folder with what `describe` put beside the checkpoints of `folder`, and the record of adapters."""
    return stores.local_copy(folder, ("config.json", *TOKENIZER_FILES, adapters.RECORD))


def _place(folder: epath.PathLike) -> epath.Path:
    return epath.Path(stores.absolute(folder))


def _free(folder: epath.PathLike) -> float:
    """Bytes that can still be written there."""
    return float("inf") if stores.is_store(folder) else shutil.disk_usage(folder).free


@contextlib.contextmanager
def _writing(place: epath.PathLike, what: str) -> Iterator[None]:
    """Turns what Orbax, TensorStore and the file system raise on a full or unwritable disk into an InputError."""
    verbosity, failed = logging.get_verbosity(), False
    logging.set_verbosity(logging.FATAL)  # Orbax logs the traceback of what it raises
    try:
        with signals.put_off():
            yield
    except _ERRORS as error:
        failed = True
        _raise_what_passes(place, error)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{place}: {what} cannot be written ({reason}); free space and run it again") from error
    finally:
        if not failed:  # else its threads, which end one after the other, would go on with that
            logging.set_verbosity(verbosity)


def find_step(path: epath.PathLike) -> tuple[epath.Path, int | None]:
    """(checkpoints folder, step) of a path that may end in a step's number; None: the newest.

    A folder with a number for a name that holds a config.json of its own is a model, not a step.
    """
    path = epath.Path(path)
    is_step = path.name.isdecimal() and not (path / "config.json").exists()
    return (path.parent, int(path.name)) if is_step else (path, None)


def load_params(folder: epath.PathLike, network: Network, mesh: Mesh | None = None, step: int | None = None) -> Params:
    """Only the parameters of a checkpoint folder, at `step` or the newest. Raises InputError when there are none."""
    if not epath.Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; give the checkpoints folder of a training run")
    with ocp.training.Checkpointer(_place(folder)) as checkpointer:
        steps = [checkpoint.step for checkpoint in checkpointer.checkpoints]
        if not steps or (step is not None and step not in steps):
            there = f"there are {', '.join(map(str, steps))}" if steps else "it holds none; give a run's checkpoints"
            raise InputError(f"{folder}: no checkpoint {'' if step is None else f'of step {step} '}there; {there}")
        wanted = network.abstract(mesh) if mesh is not None else on_one_device(network.abstract())
        place = epath.Path(folder) / str(steps[-1] if step is None else step)
        return _read(checkpointer, place, step, {"params": wanted})["params"]


def _read(checkpointer: Any, place: epath.Path, step: int | None, wanted: dict) -> dict:
    """Parts of a checkpoint. Raises InputError for one that is damaged, or of a model of another shape."""
    try:
        with signals.put_off():  # Orbax asks several of its readers, and what is raised in one is asked of the next
            return checkpointer.load_checkpointables(step, wanted)
    except (*_ERRORS, KeyError) as error:  # whatever Orbax and TensorStore make of missing or cut files
        _raise_what_passes(place, error)
        reason = (str(error).splitlines() or [repr(error)])[0]
        later = [found.step for found in checkpointer.checkpoints if step is not None and found.step > step]
        result = place.parent.parent / "result.json"  # of a run that has ended, which would not be taken up again
        damaged = [place, *(place.parent / str(one) for one in later), *([result] if result.exists() else [])]
        raise InputError(
            f"{place}: this checkpoint cannot be read ({reason[:300]}); remove {', '.join(map(str, damaged))}: the same"
            " training then goes on from the checkpoint before, or from its start"
        ) from error


def _raise_what_passes(place: epath.PathLike, error: BaseException) -> None:
    """Raises what lies behind an error of Orbax where that says nothing of the files and the room for them: a full
    device, a store that cannot be reached (Stopped), or one that may not be read."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(behind):
            raise behind
        if stores.is_store(place) and stores.is_unreachable(behind):
            raise stores.unreachable(place, behind) from error
        if isinstance(behind, ValueError) and str(behind).startswith("PERMISSION_DENIED:"):  # of TensorStore
            raise InputError(f"{place}: {stores.reason(behind)}; give this process the right to use it") from error
        behind = behind.__cause__ or behind.__context__
