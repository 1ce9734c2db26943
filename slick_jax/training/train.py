"""`slick train`: fine-tune a checkpoint on one mixture and follow, epoch by epoch, what the model gets right."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import jax
from etils import epath

from slick_jax import run_folder
from slick_jax.config import Config
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge import evaluate
from slick_jax.knowledge.greedy import Asked, GreedyEvaluator
from slick_jax.knowledge.match import matcher
from slick_jax.mesh import make_mesh
from slick_jax.models import weights
from slick_jax.models.transformer import Network
from slick_jax.training import checkpoints, loop, result
from slick_jax.training.fine_tuning_data import MixtureRow, read_mixture, render
from slick_jax.training.writers import make_writers

SPLITS = ("dev", "test", "ood_test")  # asked besides the training examples, where the data has them
UNCOUNTED = ("keep", "keep_every", "writers", "mixture", "variant")  # settings that change nothing in the results


def run(config: Config) -> epath.Path:
    """Fine-tune `config.model.path` on `config.train.variant` (or `.mixture`); returns the folder of the run.

    That is <run_dir>/train/<variant>/seed-<seed> with checkpoints/, metrics.jsonl, fit.parquet and result.json. A
    finished run is left as it is, an unfinished one goes on from its newest checkpoint. Raises InputError for bad
    input, a folder that is in use or of another config, and a loss that is not finite; Stopped after SIGTERM.
    """
    settings, model = config.train, config.model.path
    path = epath.Path(settings.mixture or epath.Path(config.run_dir) / "mixtures" / f"{settings.variant}.jsonl")
    variant = settings.variant or path.stem
    folder = epath.Path(config.run_dir) / "train" / variant / f"seed-{settings.seed}"
    mixture = read_mixture(path)
    _check_model(path.parent / "manifest.json", model)
    network = Network(weights.read_spec(model), config.model.dtype, config.model.precision, config.model.scan_layers)
    tokenizer = Tokenizer.from_folder(model, network.spec.vocab_size)
    style = prompt_style(config.annotate, tokenizer)
    trained = [Asked(row.id, row.prompt, (row.answer,), row.relation, row.category) for row in mixture]
    groups = {loop.TRAIN: trained, **evaluate.questions(config, SPLITS)}
    with _claimed(folder, _fields(config, mixture, groups, style.name)):
        if (folder / "result.json").exists():
            print(f"train: {folder} is finished and of the same settings; using it")
            return folder
        mesh = make_mesh(config.mesh)
        limit, positions = settings.max_target_tokens, network.spec.max_position_embeddings
        rows = render(style, mixture, max_target=limit, max_positions=positions, where=model)
        with jax.set_mesh(mesh):
            evaluator = GreedyEvaluator(network, mesh, tokenizer, groups, config.annotate, limit, model)
        if jax.process_index() == 0:
            checkpoints.describe(folder / "checkpoints", model)
        name = f"{variant}/seed-{settings.seed}"
        writers = make_writers(settings.writers, folder, name, dataclasses.asdict(config))
        with contextlib.ExitStack() as stack:
            for writer in writers:
                stack.callback(writer.close)
            ids = [row.id for row in mixture]
            job = loop.Job(name, folder, settings, network, mesh, model, rows, ids, evaluator, writers)
            lines = loop.train(job)
        found = result.summarise(variant, settings, mixture, lines)
        if jax.process_index() == 0:
            run_folder.write_json(folder / "result.json", found)
    print(result.text(found))
    print(f"train: {folder}")
    return folder


def _check_model(manifest: epath.Path, model: str) -> None:
    """Raises InputError when the categories of a mixture were measured on another model than the one to train."""
    annotated = (run_folder.read_json(manifest) or {}).get("model")
    if annotated is not None and annotated != weights.fingerprint(model):
        raise InputError(
            f"{manifest}: these mixtures were cut from annotations of another model than config.model.path ({model});"
            " annotate that model and run `slick mix` again, or train the one that was annotated"
        )


def _fields(config: Config, mixture: list[MixtureRow], groups: dict[str, list[Asked]], style: str) -> dict:
    """All that the results of a run depend on, the devices left out."""
    settings = dataclasses.asdict(config.train)
    for name in UNCOUNTED:
        del settings[name]
    asked = [[name, row.id, row.prompt, row.answers, row.category] for name, rows in groups.items() for row in rows]
    return {
        "train": settings,
        "mixture_sha256": _digest([dataclasses.astuple(row) for row in mixture]),
        "questions_sha256": _digest(asked),
        "model": weights.fingerprint(config.model.path),
        "dtype": config.model.dtype,
        "precision": config.model.precision,
        "prompt_style": style,
        "match": [config.annotate.match, matcher(config.annotate.match).source],
        "abstain_phrases": list(config.annotate.abstain_phrases),
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


@contextlib.contextmanager
def _claimed(folder: epath.Path, fields: dict) -> Iterator[None]:
    """Holds the run folder for this process, and marks it as a run of these settings.

    Raises InputError when another process is at work in it, or when it belongs to other settings. The lock ends with
    the process, however that ends; folders that are not local have none.
    """
    path = folder / "train.json"
    with contextlib.ExitStack() as stack:
        if "://" not in str(folder) and jax.process_index() == 0:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(Path(folder / "lock").open("w"))
            except OSError as error:
                reason = error.strerror or error
                raise InputError(f"{folder}: cannot be written ({reason}); choose another config.run_dir") from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"{folder}: another process is training there; wait for it, or choose another config.run_dir"
                ) from error
        found = run_folder.read_json(path)
        if found is None and jax.process_index() == 0:
            run_folder.write_json(path, fields)
        elif found is not None and found != fields:
            raise InputError(
                f"{path}: this folder belongs to a run with other settings ({run_folder.differences(found, fields)});"
                " choose another config.run_dir or train.seed, or remove the folder to start again"
            )
        yield
