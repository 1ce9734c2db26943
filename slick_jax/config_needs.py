"""What a command asks of a config: settings that must not be empty or set, and files that must exist."""

from collections.abc import Iterator
from pathlib import Path

from slick_jax.config import Config, DataConfig

# Settings that a command cannot do without, and the next thing to try.
NEEDED = {
    "run_dir": (
        ("data", "annotate", "rescore", "pretrain", "demo", "mix", "train", "study", "gradual", "report"),
        "the folder that results go to, such as --config.run_dir=runs/first",
    ),
    "model.path": (
        ("annotate", "train", "study", "gradual"),
        "a Hugging Face folder with config.json, *.safetensors and tokenizer, or a hub id such as org/name@revision",
    ),
    "rescore.source": (("rescore",), "the run folder whose answers are judged again"),
    "export.checkpoint": (("export",), "the training checkpoint to export"),
    "export.out": (("export",), "the Hugging Face folder to write"),
}
READS_DATA = ("data", "pretrain", "demo", "annotate", "validate", "mix", "train", "evaluate", "study", "gradual")


def needs(config: Config, command: str) -> Iterator[str]:
    """What `config` lacks or must leave out for `command`: a line each, `<setting>: <what is wrong, what to do>`."""
    for name, (commands, remedy) in NEEDED.items():
        group, _, leaf = name.rpartition(".")
        if command in commands and not getattr(getattr(config, group) if group else config, leaf):
            yield f"{name}: empty, and `slick {command}` needs it; give {remedy}"
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
    if "://" in config.run_dir:
        yield f"run_dir: {config.run_dir!r} is no local folder; object stores are not supported yet"
    if command in READS_DATA and config.data.kind != "world":
        yield from _paths(config.data)


def _paths(data: DataConfig) -> Iterator[str]:
    what = {
        "rows": "a JSONL or Parquet file",
        "tfds": "the folder with dataset_info.json",
        "entity_questions": "dataset.zip or a folder of EntityQuestions files",
    }.get(data.kind, "the place of the data")
    if not data.path:
        yield f"data.path: empty; give {what} (or set data.kind='world' for the built-in one)"
    elif not Path(data.path).exists():
        yield f"data.path: {data.path!r} does not exist; give {what}"
    elif data.kind == "rows" and Path(data.path).is_dir():
        yield f"data.path: {data.path!r} is a folder; give {what}"
    if data.dev_path and not Path(data.dev_path).is_file():
        yield f"data.dev_path: {data.dev_path!r} is not a file; give {what}, or leave it empty"
