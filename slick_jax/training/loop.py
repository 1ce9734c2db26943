"""The fine-tuning loop: steps, epochs, questions after each epoch, checkpoints, and going on from any of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from clu import parameter_overview
from etils import epath
from jax.sharding import Mesh

from slick_jax.compilation import jitted
from slick_jax.config import TrainConfig
from slick_jax.errors import InputError, Stopped
from slick_jax.files import run_folder
from slick_jax.knowledge.greedy import GreedyEvaluator
from slick_jax.mesh import batch_sharding, place, replicated
from slick_jax.models import weights
from slick_jax.models.lora import join
from slick_jax.models.transformer import Network, Params
from slick_jax.processes import signals
from slick_jax.progress import Progress
from slick_jax.training import stops
from slick_jax.training.checkpoints import Checkpoints
from slick_jax.training.fine_tuning_data import Batch, Batches, TokenRow
from slick_jax.training.programs import Programs, programs_of
from slick_jax.training.record import Record, Tally, early_stop
from slick_jax.training.step import Measured, TrainState, abstract_state
from slick_jax.training.together import Share, Votes, alone
from slick_jax.training.writers import METRICS, Writer, read_lines

WANTED = "wanted_checkpoints.json"  # in the folder of a run, from its end until all others are removed


@dataclasses.dataclass(frozen=True)
class Job:
    """One fine-tuning run, with everything read and checked.

    folder: of the run; model: Hugging Face folder it starts from; rows: those of an epoch, and ids: their names;
    evaluator: holds the questions (None: nothing is asked); tail: how many of the rows end every epoch, in their order;
    endings: those that the mixture teaches behind answers; watch: called after every step in place of the run's own
    progress line and overview, where it is one of many; share: what process 0 finds, for all processes.
    """

    name: str
    folder: epath.Path
    settings: TrainConfig
    network: Network
    mesh: Mesh
    model: str
    rows: Sequence[TokenRow]
    ids: Sequence[str]
    evaluator: GreedyEvaluator | None
    writers: Sequence[Writer] = ()
    watch: Callable[[], None] | None = None
    tail: int = 0
    endings: Sequence[str] = ()
    share: Share = alone

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(len(self.rows), self.settings)


def steps_per_epoch(rows: int, settings: TrainConfig) -> int:
    """Steps in which an epoch sees all rows once."""
    return -(-rows // settings.batch_size)


def train(job: Job) -> list[dict]:
    """Run the job, or what is left of it; returns the lines of metrics.jsonl, and extra lines (see stops.finish).

    Raises Stopped after SIGTERM to any of the processes, with everything saved, and InputError when loss or gradient is
    not finite.
    """
    settings, network, mesh = job.settings, job.network, job.mesh
    multiple = settings.accumulate * mesh.shape["data"] * mesh.shape["fsdp"]
    batches = Batches(
        job.rows, batch_size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, multiple=multiple,
        tail=job.tail,
    )  # fmt: skip
    per_epoch, n_steps = job.per_epoch, job.per_epoch * settings.epochs
    programs = programs_of(settings, network, mesh, n_steps)
    with jax.set_mesh(mesh), Checkpoints(job.folder / "checkpoints") as checkpoints, signals.noticed() as sigterm:
        # Parameters: of the checkpoint the run starts from, or of its own newest one; with LoRA the adapters, while
        # those of the base model are frozen.
        frozen = _frozen(job)
        state, tally = _start(job, programs, batches, checkpoints, n_steps)
        step = int(state.step)
        lines = job.share("lines", lambda: read_lines(job.folder / METRICS))
        record = Record(job.folder, settings, job.evaluator, job.writers, lines=lines, upto=step // per_epoch)
        stopped = "stopped by a signal after step {} of {}, everything is saved; run it again".format
        if step and step % per_epoch == 0:  # a checkpoint is saved before its epoch is asked about
            with sigterm.at_once(stopped(step, n_steps)):
                record.complete(step // per_epoch, join(frozen, state.params), tally, float(programs.rate(step - 1)))
            tally = Tally()

        # Steps: while one runs, what the one before measured is looked at.
        votes = Votes(mesh, sigterm)
        key = jitted(jax.random.key, settings.seed, out_shardings=replicated(mesh))()
        total = settings.epochs * len(job.rows)
        progress = Progress(f"train {job.name}", total, "examples", _examples(job, step))
        show = progress.show if job.watch is None else lambda *_: job.watch()
        note, pending, counted = "", None, None
        while step < n_steps:
            batch = next(batches)
            rows = jax.tree.map(lambda part: place(part, batch_sharding(mesh, part.ndim)), batch.rows)
            with jax.transfer_guard("disallow"):
                state, measured, voted = programs.step(state, rows, votes.cast(), rng=key, frozen=frozen)
            if pending is not None:
                _take(job, tally, *pending)
            ends, counted = votes.outcome(counted), voted
            pending, step = (step, batch, measured), step + 1
            if step % per_epoch and not ends:
                show(_examples(job, step), note)
                continue
            _take(job, tally, *pending)
            pending = counted = None

            # At the end of an epoch, or when asked to stop: save, so that asking, which may be long, loses nothing.
            checkpoints.choose(_chosen(job, record.lines))
            checkpoints.save(state, {"data": batches.state, "tally": dataclasses.asdict(tally)})
            if ends or votes.now():
                raise Stopped(stopped(step, n_steps))
            with sigterm.at_once(stopped(step, n_steps)):  # which raises if the signal has come
                record.complete(step // per_epoch, join(frozen, state.params), tally, float(programs.rate(step - 1)))
            note, tally = f"epoch {step // per_epoch}, loss {tally.mean_loss:.3f}, ", Tally()
            show(_examples(job, step), note)
        del state  # the checkpoints have it; its memory is for the parameters of EARLY_STOP
        with sigterm.at_once(stopped(step, n_steps)):
            load = functools.partial(_load, job, checkpoints, frozen)
            return [*record.lines, *stops.finish(job.folder, record, job.evaluator, settings.epochs, load, job.endings)]


def note_wanted(job: Job, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes down which checkpoints `keep` and `keep_every` ask for, before the run is told to be finished: `prune` is
    then done whenever the process ends."""
    wanted = _chosen(job, lines) if "best" in job.settings.keep else _every(job)
    if "last" in job.settings.keep or not wanted:
        wanted.add(job.per_epoch * job.settings.epochs)
    run_folder.write_json(job.folder / WANTED, sorted(wanted))


def prune(folder: epath.Path, share: Share = alone) -> None:
    """Removes the checkpoints of a finished run that are not asked for, where that is not done yet."""
    wanted = share("wanted", lambda: run_folder.read_json(folder / WANTED))
    if wanted is None:
        return
    with Checkpoints(folder / "checkpoints") as checkpoints:
        for step in share("steps", lambda: checkpoints.steps):
            if step not in wanted:
                checkpoints.delete(step)
    if jax.process_index() == 0:
        (folder / WANTED).unlink(missing_ok=True)


def _frozen(job: Job) -> Params | None:
    """The base model of adapters, in the dtype it is held in; None where all parameters are trained."""
    if job.network.lora is None:
        return None
    base = weights.load_hf(job.model, job.network, job.mesh, job.settings.lora.base_dtype)
    trained, all_of_base = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (job.network.abstract(), base))
    lora = job.network.lora
    print(
        f"train: adapters of rank {lora.rank} on {', '.join(lora.targets)}; {trained:,} parameters are trained,"
        f" {all_of_base:,} are frozen in {job.settings.lora.base_dtype}"
    )
    return base


def _start(
    job: Job, programs: Programs, batches: Batches, checkpoints: Checkpoints, n_steps: int
) -> tuple[TrainState, Tally]:
    """The state to go on from, with what its epoch has seen so far; `batches` are placed to follow it."""
    latest = job.share("latest", lambda: checkpoints.latest)
    if latest is None:
        if job.network.lora is None:
            params = weights.load_hf(job.model, job.network, job.mesh)
        else:
            params = job.network.init(jax.random.key(job.settings.seed), job.mesh)
        if job.watch is None:
            print(parameter_overview.get_parameter_overview(params, include_stats=False))
        return programs.start(params), Tally()
    print(f"train: {job.name} goes on from step {latest} of {n_steps}")
    checkpoints.await_step(latest)
    state = checkpoints.load(abstract_state(job.network, programs.optimizer, job.mesh), latest)
    found = checkpoints.load_loop(latest)
    batches.seek(found["data"])
    return state, Tally(**found["tally"])


def _load(job: Job, checkpoints: Checkpoints, frozen: Params | None, epoch: int) -> Params:
    """The parameters at the end of `epoch`, from its checkpoint."""
    return join(frozen, checkpoints.load_params(job.network.abstract(job.mesh), epoch * job.per_epoch))


def _take(job: Job, tally: Tally, step: int, batch: Batch, measured: Measured) -> None:
    """Adds a step to the tally. Raises InputError when its loss or gradient is not finite, and names its rows."""
    loss, norm = (float(value) for value in jax.device_get(measured))
    if not (np.isfinite(loss) and np.isfinite(norm)):
        settings, per_epoch = job.settings, job.per_epoch
        what = f"the loss is {loss}" if not np.isfinite(loss) else f"the gradient's norm is {norm}"
        names = ", ".join(job.ids[index] for index in batch.index[:8]) + ", ..." * (len(batch.index) > 8)
        raise InputError(
            f"train: {what} at step {step}, batch {step % per_epoch + 1} of epoch"
            f" {step // per_epoch + 1} (rows {names}); lower train.peak_lr (it is {settings.peak_lr:g}), raise"
            f" train.warmup_steps (it is {settings.warmup_steps}), or look at these rows"
        )
    tally.add(batch, loss, norm)


def _examples(job: Job, step: int) -> int:
    """Examples seen after `step` steps."""
    return step // job.per_epoch * len(job.rows) + step % job.per_epoch * job.settings.batch_size


def _chosen(job: Job, lines: Sequence[Mapping[str, Any]]) -> set[int]:
    """Steps of the checkpoints that stay besides the newest: the best, for the headline, and those asked for."""
    best = early_stop(lines)
    return _every(job) | ({best * job.per_epoch} if best is not None else set())


def _every(job: Job) -> set[int]:
    every = job.settings.keep_every
    return {epoch * job.per_epoch for epoch in range(every, job.settings.epochs + 1, every)} if every else set()
