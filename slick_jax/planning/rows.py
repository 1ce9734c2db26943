"""What there is to train on and to ask in training: counted in mixtures and data where they are there, else assumed."""

from __future__ import annotations

import dataclasses

import numpy as np
from etils import epath

from slick_jax import run_folder
from slick_jax.config import Config
from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import fine_tuning_prompt, prompt_style
from slick_jax.data.recipes import wanted
from slick_jax.data.target_tokens import target_tokens
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.epochs import parse_epochs
from slick_jax.planning.questions import SAMPLE, Questions
from slick_jax.training.fine_tuning_data import STEP

SHARE = 3  # a mixture holds about one in so many of the rows it is drawn from, where it is not mixed yet
ANSWER, LONGER = 8, 1.6  # targets of a row, and the longest row over the usual one, without a tokenizer
HELD_OUT = ("dev", "test", "ood_test")


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """What runs train on. count: rows of an epoch of the largest mixture; variants: mixtures; length: tokens of a usual
    row, padded, and longest; targets: of the longest answer; asked: questions of all epochs of a run, and asked_tokens:
    of one of them; told: where the figures are from."""

    count: int
    variants: int
    length: float
    longest: int
    targets: int
    asked: float
    asked_tokens: float
    told: str


def training_rows(config: Config, questions: Questions) -> TrainingRows:
    """The rows of the mixtures in the run folder; those that are not mixed yet, as `config.plan` and the data say."""
    plan, train = config.plan, config.train
    mixed = epath.Path(config.run_dir or ".") / "mixtures" / "manifest.json"
    manifest = run_folder.read_json(mixed) if config.run_dir else None
    splits = questions.asked.splits if questions.asked else {}
    pool = splits.get(config.mix.split, [])
    if manifest and manifest.get("variants"):
        sizes = [one["n"] + one.get("n_replay", 0) for one in manifest["variants"].values()]
        count, variants, told = max(sizes), len(sizes), "mixtures counted"
    else:
        count = plan.mixture_rows or -(-(len(pool) or plan.rows) // SHARE)
        variants = len(wanted(config.mix))
        told = f"not mixed: {count:,} rows (plan.mixture_rows) in each of {variants} mixtures assumed"
    variants = len(config.study.variants) or variants
    lengths, targets = _lengths(config, pool[:: -(-len(pool) // SAMPLE) or 1], questions.tokenizer)
    if lengths is None:
        usual, longest, targets = float(plan.row_tokens), plan.row_tokens * LONGER, ANSWER
        told += f"; {plan.row_tokens} tokens a row (plan.row_tokens) assumed"
    else:
        usual, longest = float(np.mean(lengths)) * 1.15, max(lengths)  # a batch is as long as its longest row
        told += "; tokens of rows counted"
    held = sum(len(splits.get(name, ())) for name in HELD_OUT) or count
    groups = (train.eval_train_epochs, count), (train.eval_test_epochs, held)
    asked = sum(len(parse_epochs(text, train.epochs)) * number for text, number in groups)
    return TrainingRows(
        count, variants, usual, _padded(longest), _padded(targets), asked,
        questions.first / questions.count / questions.sets, told,
    )  # fmt: skip


def _lengths(config: Config, pool: list[Example], tokenizer: Tokenizer | None) -> tuple[list[int] | None, int]:
    """Tokens of every row that may be trained on, and of the longest answer; None where they cannot be counted."""
    if tokenizer is None or not pool:
        return None, 0
    style = prompt_style(config.annotate, tokenizer)
    prompts = [fine_tuning_prompt(row.question) for row in pool]
    pairs = target_tokens(style, prompts, [row.answers[0] for row in pool])
    return [len(prompt) + len(target) for prompt, target in pairs], max(len(target) for _, target in pairs) + 1


def _padded(length: float) -> int:
    return -(-int(length) // STEP) * STEP
