"""What a command asks of a config: settings that must not be empty or set, and files that must exist."""

import operator
import os
from collections.abc import Iterator

from slick_jax.commands import COMMANDS
from slick_jax.config import Config, DataConfig
from slick_jax.files.stores import SCHEME, is_installed
from slick_jax.knowledge.match import squad_key
from slick_jax.settings.checks import path as fits

# What to give for a setting that a command cannot do without.
REMEDIES = {
    "run_dir": "the folder that results go to, such as --config.run_dir=runs/first",
    "model.path":
        "a Hugging Face folder with config.json, *.safetensors and tokenizer, or a hub id such as org/name@revision",
    "rescore.source": "the run folder whose answers are judged again",
    "export.checkpoint": "the training checkpoint to export",
    "export.out": "the Hugging Face folder to write",
}  # fmt: skip
PATHS = (
    "run_dir", "model.path", "data.path", "data.dev_path", "data.test_path", "mix.replay_path", "train.variant",
    "train.mixture", "evaluate.checkpoint", "export.checkpoint", "export.out", "rescore.source",
    "longform.claims.model", "longform.claims.verifier_model",
)  # fmt: skip
TEACHES = ("mix", "train", "study", "demo", "validate")  # mixtures whose refusals are counted later


def needs(config: Config, command: str) -> Iterator[str]:
    """What `config` lacks or must leave out for `command`: a line each, `<setting>: <what is wrong, what to do>`."""
    for name in PATHS:
        yield from fits(name, operator.attrgetter(name)(config))
    for name in config.study.variants:
        yield from fits("study.variants", name)
    for name in config.longform.own.paths:
        yield from fits("longform.own.paths", name)
    about = COMMANDS.get(command)  # None: whatever the command
    for name in about.needs if about else ():
        if not operator.attrgetter(name)(config):
            yield f"{name}: empty, and `slick {command}` needs it; give {REMEDIES[name]}"
    if command == "demo" and (config.model.path or config.data.splits):
        yield "model.path, data.splits: `slick demo` makes its own model and annotates every split; leave both empty"
    if command == "demo" and config.annotate.prompt_style == "chat":
        yield "annotate.prompt_style: 'chat', but the model of `slick demo` has no chat template; set it to 'qa'"
    if command == "train" and not (config.train.variant or config.train.mixture):
        yield "train.variant: empty; name one of the mixtures that `slick mix` wrote, or give a file as train.mixture"
    if command == "study" and (config.train.variant or config.train.mixture or config.train.seed):
        yield "train.variant, mixture, seed: `slick study` takes study.variants and study.seeds; leave the three unset"
    if command == "evaluate" and not (config.evaluate.checkpoint or config.model.path):
        yield "evaluate.checkpoint: empty, and so is model.path; give a Hugging Face folder or a training checkpoint"
    if command == "gradual" and (config.train.variant or config.train.mixture):
        yield "train.variant, mixture: `slick gradual` trains on all_MaybeKnown and then its own; leave both unset"
    if command == "gradual" and "best" not in config.train.keep:
        yield f"train.keep: {config.train.keep}, and `slick gradual` goes on from the best checkpoint; add 'best'"
    if command in ("demo", "pretrain", "train", "study", "gradual", "evaluate") and config.model.weights:
        yield (
            f"model.weights: {config.model.weights!r} is for `slick annotate` alone; give `slick {command}`"
            " --config.model.weights="
        )
    if command == "doctor":
        yield from _doctor(config)
    yield from _refusals(config, command)
    yield from _place(config, command)
    if about and about.data and config.data.kind != "world":
        yield from data_problems(config.data)


def _doctor(config: Config) -> Iterator[str]:
    data = config.data
    if data.kind != "rows" or data.test_path or data.splits or data.share != 1:
        yield (
            "data.kind, test_path, splits, share: `slick doctor` looks at one file of rows, data.path; leave these four"
            " unset (`slick data` writes data of other kinds as such files)"
        )
    if config.annotate.answers == "none":
        yield "annotate.answers: 'none', but `slick doctor` reads the greedy answers; set it to 'greedy'"


def _refusals(config: Config, command: str) -> Iterator[str]:
    """The refusal that a variant teaches must count as one when the tuned model is asked."""
    mix, phrases = config.mix, config.annotate.abstain_phrases
    variants = (config.train.variant,) if command == "train" else (*mix.recipes, *("idk_",) * mix.idk)
    taught = command in TEACHES and any(name.startswith("idk_") for name in variants)
    if taught and squad_key(mix.idk_text) not in map(squad_key, phrases):
        yield (
            f"mix.idk_text: {mix.idk_text!r} is none of annotate.abstain_phrases={phrases!r}, so that answers of the"
            " tuned model would count as wrong, not as refusals; set it to one of them, or leave these variants out"
            " (mix.idk, mix.recipes)"
        )


def _place(config: Config, command: str) -> Iterator[str]:
    """What a run folder on an object store cannot do (docs/storage.md)."""
    if "://" in config.export.out:
        yield f"export.out: {config.export.out!r} is no local folder; export to one, and copy it"
    for path in (config.run_dir, config.export.checkpoint, config.evaluate.checkpoint, config.train.mixture):
        if path.startswith(SCHEME) and not is_installed():
            yield f"{path!r} needs the extra gcs; pip install 'slick_jax[gcs]', or give a local folder"
    if "://" not in config.run_dir:
        return
    if not config.run_dir.startswith(SCHEME):
        yield f"run_dir: {config.run_dir!r} is on no store that is known; give a local folder, or {SCHEME}bucket/folder"
        return
    if command in COMMANDS and COMMANDS[command].own_models:
        yield (
            f"run_dir: {config.run_dir!r}, but `slick {command}` makes models and reads them back from its run folder;"
            " give a local folder, and copy it"
        )
    if config.data.write_tfds and command == "data":
        yield "data.write_tfds: TFDS writes local folders; give a local run_dir, or set it to False"
    if config.train.writers and command in ("train", "study"):
        yield f"train.writers: {', '.join(config.train.writers)} write local files; give a local run_dir, or none"


def data_problems(data: DataConfig) -> Iterator[str]:
    """What is wrong with the paths of data that is not built in, a line each."""
    what = {
        "rows": "a JSONL or Parquet file",
        "tfds": "the folder with dataset_info.json",
        "entity_questions": "dataset.zip or a folder of EntityQuestions files",
    }.get(data.kind, "the place of the data")
    if not data.path:
        yield f"data.path: empty; give {what} (or set data.kind='world' for the built-in one)"
    elif not os.path.exists(data.path):
        yield f"data.path: {data.path!r} does not exist; give {what}"
    elif data.kind == "rows" and os.path.isdir(data.path):
        yield f"data.path: {data.path!r} is a folder; give {what}"
    for name, path in (("dev_path", data.dev_path), ("test_path", data.test_path)):
        if path and not os.path.isfile(path):
            yield f"data.{name}: {path!r} is not a file; give {what}, or leave it empty"
