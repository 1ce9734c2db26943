"""What there is to train on and to ask in training: counted in mixtures and data where they are there, else assumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from slick_jax.config import Config, TrainConfig
from slick_jax.data.examples import Example, limited
from slick_jax.data.mixtures import REPLAY
from slick_jax.data.prompt_styles import fine_tuning_prompt, prompt_style
from slick_jax.data.target_tokens import target_tokens
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.epochs import parse_epochs
from slick_jax.knowledge.questions import HELD_OUT
from slick_jax.planning.mixed import Mixture, mixtures_of
from slick_jax.planning.questions import SAMPLE, Questions
from slick_jax.training.fine_tuning_data import STEP
from slick_jax.training.mixture_file import MixtureRow
from slick_jax.training.record import EVAL_EPOCHS, TRAIN

ANSWER, LONGER = 8, 1.6  # targets of a row, and the longest row over the usual one, without a tokenizer


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """What a run trains on, or several runs together. count: rows of an epoch; steps: of an epoch; length: tokens of a
    usual row, padded, and longest; targets: of the longest answer; asked: questions of all epochs and stopping points,
    and of one of them asked_tokens and judged, its positions that are judged; told: where the figures are from."""

    count: int
    steps: int
    length: float
    longest: int
    targets: int
    asked: float
    asked_tokens: float
    judged: float
    told: str


@dataclasses.dataclass(frozen=True)
class Runs:
    """train: the run of `slick train`; study: a run with every mixture of `slick study`, all together, and their
    number."""

    train: TrainingRows
    study: TrainingRows
    variants: int


def training_rows(config: Config, questions: Questions) -> Runs:
    """The rows of `train.mixture` or `train.variant`, and of `study.variants`, in the run folder; those that are not
    mixed yet, as `config.mix`, `config.plan` and the data say. Raises InputError for damaged files."""
    splits = limited(questions.asked.splits, config.data) if questions.asked else {}
    pool, train = splits.get(config.mix.split, []), config.train
    mixtures = mixtures_of(config, len(pool))
    held = {name: len(splits[name]) for name in HELD_OUT if splits.get(name)}
    per_question = questions.count * questions.sets
    named = bool(train.variant or train.mixture)
    made, alone = [], [mixtures.train]
    for runs, among in (alone, alone if named else mixtures.study), (mixtures.study, mixtures.study):
        rows = [row for mixture in among for row in mixture.rows] or [_drawn(row) for row in pool]
        usual, longest, targets, told = _lengths(config, rows, questions.tokenizer)
        made.append(TrainingRows(
            sum(one.epoch for one in runs), sum(-(-one.epoch // train.batch_size) for one in runs), usual, longest,
            targets, sum(_asked(train, one, held if splits else {"test": one.asked}) for one in runs),
            questions.first / per_question, questions.judged / per_question, f"{mixtures.told}; {told}",
        ))  # fmt: skip
    return Runs(*made, len(mixtures.study))


def _asked(train: TrainConfig, mixture: Mixture, held: Mapping[str, int]) -> int:
    """Questions of a run: after epochs, as training/record.py asks them, and the held-out ones once more at EARLY_STOP,
    where dev is there, and at CONVERGENCE."""
    groups = {TRAIN: mixture.asked, **held}
    settings = {name: getattr(train, EVAL_EPOCHS.get(name, "eval_test_epochs")) for name in groups}
    due = {name: len(parse_epochs(text, train.epochs)) for name, text in settings.items()}
    stops = 1 + bool("dev" in held and due["dev"])
    return sum(due[name] * count for name, count in groups.items()) + stops * sum(held.values())


def _drawn(row: Example) -> MixtureRow:
    """A row that may be in a mixture."""
    return MixtureRow(row.id, fine_tuning_prompt(row.question), row.answers[0], row.answers[0])


def _lengths(
    config: Config, rows: Sequence[MixtureRow], tokenizer: Tokenizer | None
) -> tuple[float, int, int, str]:
    """Tokens of a usual row, padded, of the longest one and of its longest answer, and where they are from."""
    if tokenizer is None or not rows:
        usual = config.plan.row_tokens
        told = f"{usual} tokens a row (plan.row_tokens) assumed"
        return float(usual), _padded(usual * LONGER), _padded(ANSWER), told
    some, most = rows[:: -(-len(rows) // SAMPLE)], config.train.max_replay_tokens
    asked = [row for row in some if row.prompt]
    style = prompt_style(config.annotate, tokenizer)
    pairs = target_tokens(style, [row.prompt for row in asked], [row.completion for row in asked])
    sizes = [
        (len(prompt), min(len(target) + 1, most) if row.role == REPLAY else len(target) + 1)
        for row, (prompt, target) in zip(asked, pairs, strict=True)
    ]
    plain = tokenizer.encode_batch([row.completion for row in some if not row.prompt])  # replayed text
    sizes += [(1, min(len(text), most)) for text in plain]
    usual = float(np.mean([sum(size) for size in sizes])) * 1.15  # a batch is as long as its longest row
    longest, targets = max(map(sum, sizes)), max(target for _, target in sizes)
    return usual, _padded(longest), _padded(targets), "tokens of rows counted"


def _padded(length: float) -> int:
    return -(-int(length) // STEP) * STEP
