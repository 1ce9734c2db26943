"""What a training run measures: sums over an epoch's steps, and the answers after it, written as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from slick_jax.config import TrainConfig
from slick_jax.epochs import parse_epochs
from slick_jax.knowledge.greedy import GreedyEvaluator
from slick_jax.knowledge.match_rates import MatchRates
from slick_jax.models.transformer import Params
from slick_jax.training.fine_tuning_data import Batch
from slick_jax.training.fit import FitTable
from slick_jax.training.writers import METRICS, JsonLines, Writer

TRAIN = "train"  # the group of questions that are trained on
EVAL_EPOCHS = {TRAIN: "eval_train_epochs", "dev": "eval_dev_epochs"}  # every other split: eval_test_epochs


@dataclasses.dataclass
class Tally:
    """What an epoch has seen so far; part of every checkpoint, so that a resumed epoch is reported whole."""

    loss: float = 0.0  # summed over targets, nats
    targets: int = 0
    tokens: int = 0
    gradient_norm: float = 0.0  # summed over steps
    steps: int = 0

    def add(self, batch: Batch, loss: float, norm: float) -> None:
        """Take in one step."""
        self.loss += loss * batch.targets
        self.targets += batch.targets
        self.tokens += batch.n_tokens
        self.gradient_norm += norm
        self.steps += 1

    @property
    def mean_loss(self) -> float:
        """Nats per target."""
        return self.loss / self.targets

    def line(self) -> dict:
        """Mean loss per target, mean gradient norm per step, and tokens read."""
        return {"loss": self.mean_loss, "gradient_norm": self.gradient_norm / self.steps, "tokens": self.tokens}


class Record:
    """What was measured so far, on disk after every epoch; nothing of it is later than the checkpoint, so that no
    epoch is written twice."""

    def __init__(
        self,
        folder: epath.Path,
        settings: TrainConfig,
        evaluator: GreedyEvaluator | None,
        writers: Sequence[Writer],
        *,
        lines: Sequence[dict],
        upto: int,
    ):
        """`evaluator` asks the questions, those of TRAIN in the order of the rows (None: there are none); `lines` are
        those of metrics.jsonl; what is on disk and later than epoch `upto` is forgotten."""
        self._evaluator, self._writers = evaluator, writers
        groups = {} if evaluator is None else evaluator.groups
        self._written = JsonLines(folder / METRICS, [line for line in lines if line["epoch"] <= upto])
        asked = [line["epoch"] for line in self.lines if TRAIN in line]
        self._fit = FitTable(folder / "fit.parquet", groups.get(TRAIN, ()), asked)
        self._rates = MatchRates(groups) if groups else None
        self._due = {name: _epochs(settings, name) for name in groups}

    @property
    def lines(self) -> list[dict]:
        """The lines of metrics.jsonl."""
        return self._written.lines

    def complete(self, epoch: int, params: Params, tally: Tally, lr: float) -> None:
        """Asks what is due after `epoch`, which ended with `params`, and writes its line, unless it is there."""
        if self.lines and self.lines[-1]["epoch"] == epoch:
            return
        found, hits = self.ask(params, [name for name in self._due if epoch in self._due[name]])
        if TRAIN in found:
            self._fit.add(epoch, hits)
        line = {"epoch": epoch, **tally.line(), "lr": lr, **found}
        for writer in (self._written, *self._writers):
            writer.write(line)

    def ask(self, params: Params, names: Sequence[str]) -> tuple[dict[str, dict], np.ndarray | None]:
        """The metrics of these groups, and whether each example of TRAIN was right, where it is one of them."""
        if not names:
            return {}, None
        answers = self._evaluator(params, names)
        hits = answers[TRAIN].hits[:, 1] if TRAIN in answers else None
        return {name: self._rates(name, answers[name]) for name in names}, hits


def early_stop(lines: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch with the best dev exact match, the first of equal ones; None where dev was never asked."""
    asked = [line for line in lines if "dev" in line]
    return max(asked, key=lambda line: (line["dev"]["em"], -line["epoch"]))["epoch"] if asked else None


def _epochs(settings: TrainConfig, name: str) -> frozenset[int]:
    return parse_epochs(getattr(settings, EVAL_EPOCHS.get(name, "eval_test_epochs")), settings.epochs)
