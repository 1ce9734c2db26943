"""The fine-tuning loop: steps, epochs, questions after each epoch, checkpoints, and going on from any of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from clu import parameter_overview
from etils import epath
from jax.sharding import Mesh

from slick_jax.config import TrainConfig
from slick_jax.epochs import parse_epochs
from slick_jax.errors import InputError, Stopped
from slick_jax.knowledge.greedy import GreedyEvaluator
from slick_jax.mesh import batch_sharding, replicated
from slick_jax.models import weights
from slick_jax.models.transformer import Network
from slick_jax.progress import Progress
from slick_jax.training import signals
from slick_jax.training.checkpoints import Checkpoints
from slick_jax.training.fine_tuning_data import Batch, Batches, TokenRow
from slick_jax.training.fit import FitTable, MatchRates
from slick_jax.training.optimizer import make_optimizer, make_schedule
from slick_jax.training.step import TrainState, abstract_state, state_shardings, train_step
from slick_jax.training.writers import JsonLines, Writer

TRAIN = "train"  # the group of questions that are trained on
EVAL_EPOCHS = {TRAIN: "eval_train_epochs", "dev": "eval_dev_epochs"}  # every other split: eval_test_epochs


@dataclasses.dataclass(frozen=True)
class Job:
    """One fine-tuning run, with everything read and checked.

    folder: of the run; model: Hugging Face folder it starts from; rows: to train on, and ids: their names;
    evaluator: holds the questions, those of TRAIN in the order of `rows`.
    """

    name: str
    folder: epath.Path
    settings: TrainConfig
    network: Network
    mesh: Mesh
    model: str
    rows: Sequence[TokenRow]
    ids: Sequence[str]
    evaluator: GreedyEvaluator
    writers: Sequence[Writer] = ()


def train(job: Job) -> list[dict]:
    """Run the job, or what is left of it; returns the lines of metrics.jsonl, and extra lines (see `_fill`).

    Raises Stopped after SIGTERM, with everything saved, and InputError when the loss is not finite.
    """
    settings, network, mesh = job.settings, job.network, job.mesh
    multiple = settings.accumulate * mesh.shape["data"] * mesh.shape["fsdp"]
    batches = Batches(
        job.rows, batch_size=settings.batch_size, epochs=settings.epochs, seed=settings.seed, multiple=multiple
    )
    per_epoch, n_steps = batches.per_epoch, batches.per_epoch * settings.epochs
    optimizer = make_optimizer(settings, n_steps, network.decay_mask())
    schedule = make_schedule(settings, n_steps)
    with jax.set_mesh(mesh), Checkpoints(job.folder / "checkpoints") as checkpoints, signals.noticed() as asked:
        # Parameters: of the checkpoint the run starts from, or of its own newest one.
        if checkpoints.latest is None:
            params = weights.load_hf(job.model, network, mesh)
            state, tally = _fresh(network, optimizer, params, mesh), Tally()
            print(parameter_overview.get_parameter_overview(state.params, include_stats=False))
        else:
            print(f"train: {job.name} goes on from step {checkpoints.latest} of {n_steps}")
            state = checkpoints.load(abstract_state(network, optimizer, mesh))
            found = checkpoints.load_loop()
            batches.seek(found["data"])
            tally = Tally(**found["tally"])
        step = int(state.step)

        # What was measured so far: nothing later than the checkpoint, so that no epoch is written twice.
        lines = JsonLines(job.folder / "metrics.jsonl", upto=step // per_epoch)
        fit = FitTable(job.folder / "fit.parquet", job.evaluator.groups[TRAIN], upto=step // per_epoch)
        rates = MatchRates(job.evaluator.groups)
        due = {name: _epochs(settings, name) for name in job.evaluator.groups}

        # Steps: while one runs, the loss of the one before is looked at.
        run_step = _compile(job, optimizer)
        key = jax.device_put(jax.random.key(settings.seed), replicated(mesh))
        total = settings.epochs * len(job.rows)
        progress = Progress(f"train {job.name}", total, "examples", _examples(job, step, per_epoch))
        pending: tuple[int, Batch, jax.Array] | None = None
        while step < n_steps:
            batch = next(batches)
            rows = jax.tree.map(lambda part: _place(part, mesh), batch.rows)
            with jax.transfer_guard("disallow"):
                state, loss = run_step(state, rows, rng=key)
            if pending is not None:
                tally.add(job, *pending)
            pending, step = (step, batch, loss), step + 1
            (epoch, rest), stop = divmod(step, per_epoch), asked(step)
            if rest and not stop:
                continue
            tally.add(job, *pending)
            pending = None

            # After an epoch: ask, write what was found, then make it count with a checkpoint.
            if not rest:
                names = [name for name in due if epoch in due[name]]
                answers = job.evaluator(state.params, names)
                line = {"epoch": epoch, **tally.line(), "lr": float(schedule(step - 1))}
                line |= {name: rates(name, answers[name]) for name in names}
                if TRAIN in names:
                    fit.add(epoch, answers[TRAIN].hits[:, 1])
                for writer in (lines, *job.writers):
                    writer.write(line)
                tally = Tally()
                progress.show(_examples(job, step, per_epoch), f"epoch {epoch}, loss {line['loss']:.3f}, ")
            checkpoints.choose(_chosen(settings, lines.lines, per_epoch))
            checkpoints.save(state, {"data": batches.state, "tally": dataclasses.asdict(tally)})
            if stop and step < n_steps:
                raise Stopped(f"stopped by a signal after step {step} of {n_steps}, everything is saved; run it again")

        # When all is done: what the headline still lacks, and no checkpoint that is not asked for.
        extra = _fill(job, checkpoints, lines.lines, rates, per_epoch)
        chosen = _chosen(settings, lines.lines, per_epoch)
        if "last" not in settings.keep and chosen and n_steps not in chosen:
            checkpoints.delete(n_steps)
    return [*lines.lines, *extra]


@dataclasses.dataclass
class Tally:
    """What an epoch has seen so far; part of every checkpoint, so that a resumed epoch is reported whole."""

    loss: float = 0.0  # summed over targets, nats
    targets: int = 0
    tokens: int = 0

    def add(self, job: Job, step: int, batch: Batch, loss: jax.Array) -> None:
        """Take in one step. Raises InputError when its loss is not finite."""
        value = float(jax.device_get(loss))
        if not np.isfinite(value):
            settings, per_epoch = job.settings, -(-len(job.rows) // job.settings.batch_size)
            names = ", ".join(job.ids[index] for index in batch.index[:8]) + ", ..." * (len(batch.index) > 8)
            raise InputError(
                f"train: the loss is {value} at step {step}, batch {step % per_epoch + 1} of epoch"
                f" {step // per_epoch + 1} (rows {names}); lower train.peak_lr (it is {settings.peak_lr:g}), raise"
                f" train.warmup_steps (it is {settings.warmup_steps}), or look at these rows"
            )
        self.loss += value * batch.targets
        self.targets += batch.targets
        self.tokens += batch.n_tokens

    def line(self) -> dict:
        """Mean loss per target and tokens read."""
        return {"loss": self.loss / self.targets, "tokens": self.tokens}


def early_stop(lines: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch with the best dev exact match, the first of equal ones; None where dev was never asked."""
    asked = [line for line in lines if "dev" in line]
    return max(asked, key=lambda line: (line["dev"]["em"], -line["epoch"]))["epoch"] if asked else None


def _epochs(settings: TrainConfig, name: str) -> frozenset[int]:
    return parse_epochs(getattr(settings, EVAL_EPOCHS.get(name, "eval_test_epochs")), settings.epochs)


def _fresh(network: Network, optimizer: Any, params: Any, mesh: Mesh) -> TrainState:
    """Step 0 with loaded parameters; the optimizer state is created where it will live."""
    places = state_shardings(network, optimizer, mesh)
    opt_state = jax.jit(optimizer.init, out_shardings=places.opt_state)(params)
    return TrainState(jax.device_put(np.int32(0), places.step), params, opt_state)


def _compile(job: Job, optimizer: Any) -> Any:
    """The step as one program per row length; the state is donated and stays where it lies."""
    settings = job.settings
    step = functools.partial(
        train_step, job.network, optimizer, dropout=settings.dropout, accumulate=settings.accumulate
    )
    places = state_shardings(job.network, optimizer, job.mesh), replicated(job.mesh)
    return jax.jit(step, donate_argnums=0, out_shardings=places)


def _place(array: np.ndarray, mesh: Mesh) -> jax.Array:
    """Every process holds the whole batch and gives its devices their rows."""
    return jax.make_array_from_callback(array.shape, batch_sharding(mesh, array.ndim), lambda index: array[index])


def _examples(job: Job, step: int, per_epoch: int) -> int:
    """Examples seen after `step` steps."""
    return step // per_epoch * len(job.rows) + step % per_epoch * job.settings.batch_size


def _chosen(settings: TrainConfig, lines: Sequence[Mapping[str, Any]], per_epoch: int) -> set[int]:
    """Steps of the checkpoints that stay besides the newest."""
    epochs = set(range(settings.keep_every, settings.epochs + 1, settings.keep_every)) if settings.keep_every else set()
    best = early_stop(lines)
    if "best" in settings.keep and best is not None:
        epochs.add(best)
    return {epoch * per_epoch for epoch in epochs}


def _fill(job: Job, checkpoints: Checkpoints, lines: list[dict], rates: MatchRates, per_epoch: int) -> list[dict]:
    """A line of EARLY_STOP with the splits that were not asked at that epoch, where its checkpoint was kept."""
    best = early_stop(lines)
    if best is None or best * per_epoch not in checkpoints.steps:
        return []
    asked = next(line for line in lines if line["epoch"] == best)
    missing = [name for name in job.evaluator.groups if name not in asked]
    if not missing:
        return []
    params = checkpoints.load_params(job.network.abstract(job.mesh), best * per_epoch)
    answers = job.evaluator(params, missing)
    return [{"epoch": best} | {name: rates(name, answers[name]) for name in missing}]
