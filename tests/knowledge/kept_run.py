"""A small annotated run whose answers are kept, made in this process; for tests of answers and rescoring."""

import dataclasses

from slick_jax.knowledge import annotate
from slick_jax.settings.config_file import load_config


def config_of(root, run_dir, model, *overrides):
    """The config of `slick annotate` on a few rows of the small world, in parts of 8."""
    settings = {
        "run_dir": run_dir, "model.path": model, "data.splits": "train,test", "data.limit": 10, "annotate.part_size": 8,
        "annotate.answers": "all", "annotate.answer_rows": 512, "annotate.batch_tokens": 64,
    }  # fmt: skip
    flags = [f"--config.{name}={value}" for name, value in settings.items()]
    return load_config([f"--config={root / 'tests' / 'small_world.py'}", *flags, *overrides], "annotate")


def make(root, run_dir, model, *overrides):
    """(config, annotations, summary) of a run made now."""
    config = config_of(root, run_dir, model, *overrides)
    table, summary = annotate.annotate(config)
    return config, table, summary


def with_annotate(config, **changes):
    """The config with other settings of annotate."""
    return dataclasses.replace(config, annotate=dataclasses.replace(config.annotate, **changes))
