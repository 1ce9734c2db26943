"""`slick train`: fine-tune a checkpoint on one mixture and follow, epoch by epoch, what the model gets right."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

import jax
from etils import epath

from slick_jax.config import Config
from slick_jax.data import annotations
from slick_jax.data.mix import content, content_digest
from slick_jax.data.mixtures import REPLAY
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.files import run_folder, stores
from slick_jax.files.hashing import digest
from slick_jax.knowledge.endings import accepting
from slick_jax.knowledge.greedy import Asked, GreedyEvaluator
from slick_jax.knowledge.match import matcher
from slick_jax.knowledge.questions import Questions, questions
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.lora import LoraSpec
from slick_jax.models.transformer import Network
from slick_jax.processes.lockstep import in_lockstep
from slick_jax.processes.peers import FOLDER, Peers
from slick_jax.training import adapters, identity, loop, result
from slick_jax.training.fine_tuning_data import render
from slick_jax.training.mixture_file import MixtureRow, dealt, endings, read_mixture
from slick_jax.training.record import TRAIN
from slick_jax.training.stops import ANSWERS
from slick_jax.training.together import claimed_by_all
from slick_jax.training.writers import make_writers

# Settings that change nothing in the results (remat: as little as other devices do), or that count with the mixture.
UNCOUNTED = ("keep", "keep_every", "writers", "mixture", "variant", "remat", "max_replay_tokens")


def run(
    config: Config, watch: Callable[[], None] | None = None, ask: Callable[[Config], Questions] = questions
) -> epath.Path:
    """Fine-tune `config.model.path` on `config.train.variant` (or `.mixture`); returns the folder of the run.

    That is <run_dir>/train/<variant>/seed-<seed> with checkpoints/, metrics.jsonl, fit.parquet, answers.parquet and
    result.json. A finished run is left as it is, an unfinished one goes on from its newest checkpoint. `watch` is
    called as the run goes on, which then is quiet. `ask` gives the questions, which many runs may share. Several
    processes train on one mesh over the devices of all.

    Raises InputError for bad input, a folder that is in use (Busy) or of another config, and a loss or gradient that is
    not finite; Stopped after SIGTERM, and when another process has ended.
    """
    settings, path = config.train, mixture_of(config)
    variant = settings.variant or (path.parent.name if path.is_dir() else path.stem)  # of a TFDS folder: its name
    folder = folder_of(config.run_dir, variant, settings.seed)
    with in_lockstep(config, "train", folder / FOLDER, "from its newest checkpoint") as peers:
        _run(config, path, variant, folder, peers, watch, ask)
    return folder


def _run(
    config: Config,
    path: epath.Path,
    variant: str,
    folder: epath.Path,
    peers: Peers,
    watch: Callable[[], None] | None,
    ask: Callable[[Config], Questions],
) -> None:
    # What there is to train on and to ask, all of it checked.
    settings, model = config.train, config.model.path
    mixture = read_mixture(path)
    asked, annotated = ask(config)
    fingerprint = weights.fingerprint(model)
    _check_origin(path, mixture, annotated, config, fingerprint)
    spec, arithmetic = weights.read_spec(model), config.model
    lora = adapters.lora_spec(settings.lora, spec)
    network = Network(
        spec, arithmetic.dtype, arithmetic.precision, arithmetic.scan_layers, lora=lora, remat=settings.remat
    )
    tokenizer = Tokenizer.from_folder(model, network.spec.vocab_size)
    style = prompt_style(config.annotate, tokenizer)
    trained = [
        Asked(row.id, row.prompt, (row.answer,), row.relation, row.category) for row in mixture if row.role != REPLAY
    ]
    taught = endings(mixture)
    groups = {name: accepting(group, taught) for name, group in {TRAIN: trained, **asked}.items()}
    fields = _fields(config, mixture, asked, fingerprint, style.name, lora)
    if "dev" not in groups:
        print("train: the data has no dev split (data.dev_path), so there is no EARLY_STOP and no best checkpoint")
    with claimed_by_all(peers, folder, "train.json", fields, "result.json") as finished:
        if finished:
            loop.prune(folder, peers.share)
            if watch is None:
                print(f"train: {folder} is finished and of the same settings; using it")
            return

        # The run itself.
        limit, positions = settings.max_target_tokens, network.spec.max_position_embeddings
        longest = {"max_target": limit, "max_positions": positions, "max_replay": settings.max_replay_tokens}
        rows = render(style, mixture, where=model, **longest)
        order, tail = dealt(mixture)
        mesh = make_mesh(config.mesh)
        with jax.set_mesh(mesh):
            evaluator = GreedyEvaluator(network, mesh, tokenizer, groups, config.annotate, limit, model)
        if peers.leads:
            identity.describe(folder / "checkpoints", model, lora, settings, fingerprint, arithmetic.source)
        name = f"{variant}/seed-{settings.seed}"
        run_id = digest([stores.absolute(folder), fields])[:12]
        with contextlib.ExitStack() as stack:
            writers = make_writers(settings.writers, folder, name, run_id, dataclasses.asdict(config))
            for writer in writers:
                stack.callback(writer.close)
            job = loop.Job(
                name, folder, settings, network, mesh, model, [rows[place] for place in order],
                [mixture[place].id for place in order], evaluator, writers, watch, tail, taught, peers.share,
            )  # fmt: skip
            lines = loop.train(job)

        # What it comes to; only then go the checkpoints that are not asked for.
        if peers.leads:
            found = result.summarise(variant, settings, mixture, lines) | {"model": arithmetic.source or str(model)}
            if taught:
                found["taught_endings"] = list(taught)
                found["endings"] = result.ending_rates(run_folder.read_parquet(folder / ANSWERS), taught)
            loop.note_wanted(job, lines)
            run_folder.write_json(folder / "result.json", found)
            if watch is None:
                print(result.text(found))
                print(f"train: {folder}")
        loop.prune(folder, peers.share)


def mixture_of(config: Config) -> epath.Path:
    """The file, or the TFDS folder, that is trained on."""
    mixed = epath.Path(config.run_dir) / "mixtures" / f"{config.train.variant}.jsonl"
    return epath.Path(config.train.mixture or mixed)


def folder_of(run_dir: epath.PathLike, variant: str, seed: int) -> epath.Path:
    """The folder of one run."""
    return epath.Path(run_dir) / "train" / variant / f"seed-{seed}"


def _check_origin(
    path: epath.Path, mixture: list[MixtureRow], annotated: str | None, config: Config, fingerprint: str
) -> None:
    """Raises InputError when categories were measured on another model than the one to train or by two rules, and when
    the mixture is no longer the one that the manifest beside it describes."""
    manifest = run_folder.read_object(path.parent / "manifest.json") or {}
    rule = config.mix.rule
    if manifest.get("rule", rule) != rule:
        raise InputError(
            f"{path.parent / 'manifest.json'}: mixed by the categories of mix.rule={manifest['rule']!r}, and the config"
            f" has {rule!r}; give both commands the same"
        )
    origins = {path.parent / "manifest.json": manifest.get("model"), annotations.path(config): annotated}
    for place, model in origins.items():
        if model is not None and model != fingerprint:
            raise InputError(
                f"{place}: its categories were measured on another model than config.model.path"
                f" ({config.model.path}); annotate that model and run `slick mix` again, or train the annotated one"
            )
    made = manifest.get("variants", {}).get(path.stem)
    if made is not None and made["sha256"] != content_digest(content(dataclasses.asdict(row)) for row in mixture):
        raise InputError(
            f"{path}: other rows than {path.parent / 'manifest.json'} says; run `slick mix` again, or give your own"
            " file a folder of its own as train.mixture"
        )


def _fields(
    config: Config,
    mixture: list[MixtureRow],
    asked: dict[str, list[Asked]],
    fingerprint: str,
    style: str,
    lora: LoraSpec | None,
) -> dict:
    """All that the results of a run depend on, the devices left out."""
    taught = [row.content for row in mixture]
    if any(row.role == REPLAY for row in mixture):
        taught.append(config.train.max_replay_tokens)
    questions = [[name, row.id, row.prompt, row.answers, row.category] for name, rows in asked.items() for row in rows]
    return {
        "train": identity.counted(config.train, UNCOUNTED, lora),
        "mixture_sha256": digest(taught),
        "questions_sha256": digest(questions),
        "model": fingerprint,
        "dtype": config.model.dtype,
        "precision": config.model.precision,
        "prompt_style": style,
        "match": [config.annotate.match, matcher(config.annotate.match).source],
        "abstain_phrases": list(config.annotate.abstain_phrases),
    }
