"""`slick pretrain`: a small fresh model reads once the corpus that tells the facts, and becomes a checkpoint folder."""

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from etils import epath
from jax.sharding import Mesh

from slick_jax.config import Config, DataConfig, MeshConfig
from slick_jax.data.corpus import Corpus, tell
from slick_jax.data.corpus_tokens import pack, train_tokenizer
from slick_jax.data.entity_questions.relations import STATEMENTS
from slick_jax.data.examples import load_splits, to_jsonl
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.data.world import make_world
from slick_jax.errors import InputError, Stopped
from slick_jax.files import run_folder
from slick_jax.mesh import batch_shards, constrain, make_mesh, place, replicated
from slick_jax.models.spec import ModelSpec, spec_to_hf
from slick_jax.models.transformer import Network
from slick_jax.models.weights import save_hf
from slick_jax.processes import signals
from slick_jax.processes.lockstep import in_lockstep
from slick_jax.processes.peers import FOLDER, Peers
from slick_jax.progress import Progress
from slick_jax.training.checkpoints import Checkpoints
from slick_jax.training.optimizer import make_optimizer
from slick_jax.training.step import Rows, TrainState, abstract_state, init_state, state_shardings, train_step
from slick_jax.training.together import Votes, claimed_by_all

STEPS_PER_CALL = 20  # steps of one dispatch; the losses of one call are read while the next one runs


def run(config: Config, world: Corpus | None = None) -> Path:
    """Pretrains the model of `config` and returns its folder, `<run_dir>/model`, in Hugging Face format.

    `world`: what is told; None: the facts of `config.data`.

    Beside it: world/<split>.jsonl, exposures.json (tellings per fact) and checkpoints/. A finished model of the same
    settings is reused, an unfinished run goes on from its last checkpoint and ends with the same bytes. The model is
    small: one process trains it on one device, whatever the mesh; several use the devices of all, as the mesh says.

    Raises InputError when run_dir holds a run of other settings, or when the loss stops being finite; Stopped after
    SIGTERM, and when another process has ended.
    """
    run_dir = Path(config.run_dir)
    with in_lockstep(config, "pretrain", run_dir / FOLDER, "from its newest checkpoint") as peers:
        world = world or world_of(config.data)
        claim = epath.Path(run_dir), "pretrain.json", _settings(config, world), "model/config.json"
        with claimed_by_all(peers, *claim) as finished:
            if finished:
                print(f"pretrain: {run_dir / 'model'} is finished and of the same settings; using it")
            else:
                _pretrain(config, world, run_dir, peers)
                print(f"pretrain: model in {run_dir / 'model'}")
    return run_dir / "model"


def _pretrain(config: Config, world: Corpus, run_dir: Path, peers: Peers) -> None:
    """What is left of the run, from the corpus to the model's folder."""
    if peers.leads:
        _write_world(run_dir, world)
    tokenizer = train_tokenizer(world, config.data.corpus.vocab_size)
    rows = pack(world, tokenizer, config.data.corpus.row_tokens)
    order, n_steps = _order(config, len(rows))

    network = make_network(config, tokenizer.size)
    mesh = make_mesh(config.mesh) if peers.count > 1 else make_mesh(MeshConfig(1, 1, 1), jax.local_devices()[:1])
    optimizer = make_optimizer(config.pretrain, n_steps, network.decay_mask())
    if peers.leads:
        _describe(run_dir / "checkpoints", network, tokenizer)
    with jax.set_mesh(mesh), Checkpoints(run_dir / "checkpoints") as checkpoints, signals.noticed() as sigterm:
        latest = peers.share("latest", lambda: checkpoints.latest)
        if latest is None:
            state = init_state(network, optimizer, jax.random.key(config.pretrain.seed), mesh)
            print(parameter_overview.get_parameter_overview(state.params, include_stats=False))
        else:
            print(f"pretrain: going on from step {latest}")
            checkpoints.await_step(latest)
            state = checkpoints.load(abstract_state(network, optimizer, mesh), latest)
        state = _train(config, network, optimizer, state, mesh, rows, order, checkpoints, Votes(mesh, sigterm))
        peers.share("described", lambda: True)  # the tokenizer's files are there
        save_hf(run_dir / "model", network, state.params, tokenizer_folder=run_dir / "checkpoints")


def world_of(data: DataConfig) -> Corpus:
    """The facts of `data` and how they are told: a relation that has no templates of statements is asked alone."""
    if data.kind == "world":
        return make_world(data.world, data.corpus)
    return tell(load_splits(data), STATEMENTS if data.kind == "entity_questions" else {}, data.corpus)


def make_network(config: Config, vocab_size: int) -> Network:
    """The fresh network of `config.model.shape`; layers are unrolled, which is faster for a few of them."""
    shape = dataclasses.asdict(config.model.shape)
    return Network(ModelSpec(vocab_size=vocab_size, **shape), config.model.dtype, config.model.precision, False)


def _train(
    config: Config,
    network: Network,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    mesh: Mesh,
    rows: np.ndarray,
    order: np.ndarray,
    checkpoints: Checkpoints,
    votes: Votes,
) -> TrainState:
    """All steps that are left: dispatch, read the losses of the call before, save where a checkpoint is due.

    Raises Stopped after SIGTERM to any of the processes, with everything saved.
    """
    n_steps, every = len(order), config.pretrain.checkpoint_every
    everywhere = replicated(mesh)
    call = jax.jit(
        functools.partial(_steps, network, optimizer), donate_argnums=0,
        out_shardings=(state_shardings(network, optimizer, mesh), everywhere, everywhere),
    )  # fmt: skip
    step = int(state.step)
    per_step = order.shape[1] * (rows.shape[1] - 1)
    data = place(rows, everywhere), place(_padded(order, batch_shards(mesh)), everywhere)
    progress = Progress("pretrain", n_steps * per_step, "tokens", step * per_step)
    report = functools.partial(_report, progress, per_step, config)
    pending: tuple[int, int, Any] | None = None
    counted = None
    while step < n_steps:
        stop = min(step + STEPS_PER_CALL, n_steps, (step // every + 1) * every)
        until = place(np.array(stop, np.int32), everywhere)
        with jax.transfer_guard("disallow"):
            state, losses, voted = call(state, *data, until, votes.cast())
        if pending is not None:
            report(*pending)
        ends, counted = votes.outcome(counted), voted
        pending, step = (step, stop, losses), stop
        if step % every == 0 or step == n_steps or ends:
            report(*pending)  # a state is saved only after its losses were looked at
            pending = counted = None
            checkpoints.save(state)
            if ends or votes.now():
                told = f"stopped by a signal after step {step} of {n_steps}, everything is saved; run it again"
                raise Stopped(told)
    return state


def _padded(order: np.ndarray, multiple: int) -> np.ndarray:
    """Row numbers of every step, with as many -1 (no row) behind them that all devices get the same number."""
    missing = -order.shape[1] % multiple
    return np.pad(order, ((0, 0), (0, missing)), constant_values=-1)


def _steps(
    network: Network,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    rows: jax.Array,
    order: jax.Array,
    stop: jax.Array,
    words: jax.Array | None,
) -> tuple[TrainState, jax.Array, jax.Array | None]:
    """Steps state.step .. stop-1 over rows Int[N T+1] in order Int[steps B]; their losses, Float[STEPS_PER_CALL], and
    the count of the votes.

    The bounds are traced, so that one program serves every call and a resumed run repeats the same arithmetic.
    """
    start = state.step

    def body(step: jax.Array, carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        state, losses = carry
        numbers = constrain(order[step], ("batch",))
        batch = constrain(rows[numbers], ("batch", None))
        weights = jnp.broadcast_to((numbers >= 0)[:, None], batch[:, 1:].shape).astype(jnp.float32)
        batch = Rows(batch[:, :-1], batch[:, 1:], weights)
        state, measured = train_step(network, optimizer, state, batch)
        return state, losses.at[step - start].set(measured.loss)

    found = jax.lax.fori_loop(start, stop, body, (state, jnp.zeros(STEPS_PER_CALL, jnp.float32)))
    return *found, Votes.count(words)


def _report(progress: Progress, per_step: int, config: Config, start: int, stop: int, losses: jax.Array) -> None:
    """Shows the mean loss of steps start .. stop-1. Raises InputError at the first loss that is not finite."""
    values = jax.device_get(losses)[: stop - start]
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise InputError(
            f"pretrain: the loss is {values[bad[0]]} at step {start + int(bad[0])}; lower "
            f"config.pretrain.peak_lr (it is {config.pretrain.peak_lr:g}) or raise "
            f"config.pretrain.warmup_steps (it is {config.pretrain.warmup_steps})"
        )
    progress.show(stop * per_step, f"step {stop:,}, loss {values.mean():.3f}, ")


def _order(config: Config, n_rows: int) -> tuple[np.ndarray, int]:
    """(row numbers of every step, int32 [steps, rows_per_step]; steps): a seeded pass over the corpus, or several."""
    per_step = config.pretrain.rows_per_step
    per_pass = n_rows // per_step
    if n_rows < per_step:
        raise InputError(
            f"the corpus has only {n_rows} rows; config.pretrain.rows_per_step is {per_step}: lower it, "
            "or give the world more facts"
        )
    n_steps = config.pretrain.max_steps or per_pass
    rng = np.random.Generator(np.random.PCG64(config.pretrain.seed))
    passes = [rng.permutation(n_rows)[: per_pass * per_step] for _ in range(-(-n_steps // per_pass))]
    return np.concatenate(passes).reshape(-1, per_step)[:n_steps].astype(np.int32), n_steps


def _settings(config: Config, world: Corpus) -> dict:
    """All that the model depends on."""
    settings = {
        "data": config.data.kind,
        "corpus": dataclasses.asdict(config.data.corpus),
        "shape": dataclasses.asdict(config.model.shape),
        "model": {"dtype": config.model.dtype, "precision": config.model.precision},
        "pretrain": dataclasses.asdict(config.pretrain),
        "corpus_sha256": hashlib.sha256("\0".join(world.documents).encode()).hexdigest(),
    }
    del settings["pretrain"]["checkpoint_every"]  # changes nothing in the result
    return settings


def _write_world(run_dir: Path, world: Corpus) -> None:
    """world/<split>.jsonl, as `read_rows` reads it, and exposures.json: id -> tellings in the corpus."""
    for split, examples in world.splits.items():
        run_folder.write_text(run_dir / "world" / f"{split}.jsonl", to_jsonl(examples))
    run_folder.write_json(run_dir / "exposures.json", world.exposures)


def _describe(folder: Path, network: Network, tokenizer: Tokenizer) -> None:
    """config.json and tokenizer files beside the checkpoints, from which the exported folder takes them."""
    tokenizer.save(folder)
    (eos,) = tokenizer.eos_ids
    run_folder.write_json(folder / "config.json", spec_to_hf(network.spec, bos_token_id=eos, eos_token_id=eos))
