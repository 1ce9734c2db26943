"""Rows as people have them: what cannot be asked is listed and left out, and small relations share their exemplars."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from slick_jax.config import Config
from slick_jax.data.examples import POOLED, Example, check_ids_differ, checked_rows, raise_problems, read_rows
from slick_jax.data.prompt_styles import Chat, Qa, prompt_style
from slick_jax.data.prompts import draft_answers
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge import preparation
from slick_jax.knowledge.match import matcher
from slick_jax.knowledge.preparation import AskedRows
from slick_jax.models import weights
from slick_jax.models.spec import ModelSpec

MOST_BAD = 0.5  # a file of which more is left out is another kind of file


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A line that is not asked: where it is, why, and the row as far as it could be read."""

    place: str
    why: str
    row: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Intake:
    """What was read.

    asked: the rows to annotate with their exemplars, rows of small relations under the name `POOLED`; relations: the
    relation of every asked row as its file has it, by id; given: the whole rows as their file has them, by id.
    beyond: good rows behind data.limit; pooled: the relations that share exemplars.
    """

    asked: AskedRows
    relations: dict[str, str]
    given: dict[str, dict[str, Any]]
    left_out: Sequence[LeftOut]
    beyond: int
    pooled: Sequence[str]

    @property
    def lines(self) -> int:
        """Rows of the file."""
        return len(self.asked.rows) + len(self.left_out) + self.beyond


def take_in(config: Config) -> tuple[ModelSpec, Tokenizer, Intake]:
    """The model's description and tokenizer, and the rows of data.path with their exemplars.

    Raises InputError where the file cannot be read, where most of it cannot be asked (any of it with
    doctor.skip_bad_rows=False), and where all its rows together give no exemplars.
    """
    spec, path = weights.read_spec(config.model.path), config.data.path
    tokenizer = Tokenizer.from_folder(config.model.path, spec.vocab_size)
    style = prompt_style(config.annotate, tokenizer)
    good, bad, given = [], [], {}
    for place, row, found in checked_rows(path, "train"):
        if isinstance(found, Example):
            good.append((place, found))
            given[found.id] = row
        else:
            bad.append(LeftOut(place, found, row))
    rows = [row for _, row in good]
    whys = _unfit(rows, style, config, spec.max_position_embeddings) if rows else {}
    bad += [LeftOut(place, whys[row.id], given.pop(row.id)) for place, row in good if row.id in whys]
    rows = [row for row in rows if row.id not in whys]
    listed = [f"{one.place}: {one.why}" for one in bad]
    if not config.doctor.skip_bad_rows:
        raise_problems(listed, "rows that cannot be asked; doctor.skip_bad_rows=True goes on without them:")
    if not rows or len(bad) > MOST_BAD * (len(rows) + len(bad)):
        raise_problems(listed, f"{path}: {len(bad)} of {len(rows) + len(bad)} rows cannot be asked:")
        raise InputError(f"{path}: holds no rows; expected one JSON object with question and answer per line")
    dev = read_rows(config.data.dev_path, "dev") if config.data.dev_path else []
    check_ids_differ({"train": rows, "dev": dev})
    relations = {row.id: row.relation for row in rows}
    asked, pooled = _pooled(config, rows, dev)
    return spec, tokenizer, Intake(asked, relations, given, bad, len(rows) - len(asked.rows), pooled)


def _unfit(rows: list[Example], style: Qa | Chat, config: Config, max_positions: int | None) -> dict[str, str]:
    """Why rows cannot be asked, by id: answers that can never be right, and texts too long for the model's prompts."""
    settings, rule = config.annotate, matcher(config.annotate.match)
    drafts, limit = draft_answers(style, rows), settings.max_answer_tokens
    whys = {
        row.id: f"{problem}; annotate.max_answer_tokens={limit} decides how long answers may be"
        for row, made in zip(rows, drafts, strict=True)
        if (problem := next(preparation.draft_problems(row, made, rule, limit), None))
    }
    if max_positions is None:
        return whys
    # Any rows may come together in a prompt: the longest go until those that are left always fit.
    opened = style.encode([style.few_shot([], row.question) for row in rows])
    sizes = {
        row.id: len(tokens) + len(made[0].tokens) + 1
        for row, tokens, made in zip(rows, opened, drafts, strict=True)
        if row.id not in whys
    }
    room, together = max_positions - limit, settings.n_exemplars + 1
    longest = sorted(sizes, key=lambda name: -sizes[name])
    while sum(sizes[name] for name in longest[:together]) > room:
        name = longest.pop(0)
        whys[name] = (
            f"question and answer take {sizes[name]} tokens, and a prompt of {together} such rows has room for {room}"
            " (the model's max_position_embeddings); shorten it"
        )
    return whys


def _pooled(config: Config, rows: list[Example], dev: list[Example]) -> tuple[AskedRows, list[str]]:
    """The rows with their exemplars, and the relations that are asked as one, because their own rows are too few.

    Where these together are too few as well, the next larger relation joins them.
    """
    own = {row.relation: {"train": [], **({"dev": []} if dev else {})} for row in rows}  # splits of every relation
    for split, of in (("train", rows), ("dev", dev)):
        for row in of:
            if row.relation in own:
                own[row.relation][split].append(row)
    pooled = [name for name, splits in own.items() if not _askable(config, splits)]
    others = sorted(own.keys() - set(pooled), key=lambda name: (-len(own[name]["train"]), name))
    while pooled and others and not _askable(config, _joined([own[name] for name in pooled])):
        pooled.append(others.pop())
    names = set(pooled)
    splits = {"train": [_renamed(row, names) for row in rows]}
    return preparation.ask(config, splits | ({"dev": [_renamed(row, names) for row in dev]} if dev else {})), pooled


def _askable(config: Config, splits: dict[str, list[Example]]) -> bool:
    """Whether the rows of these splits can be asked."""
    if not all(splits.values()):
        return False
    whole = dataclasses.replace(config, data=dataclasses.replace(config.data, limit=None))
    try:
        preparation.ask(whole, splits)
    except InputError:
        return False
    return True


def _joined(relations: Sequence[dict[str, list[Example]]]) -> dict[str, list[Example]]:
    """The splits of several relations as those of one."""
    return {
        split: [dataclasses.replace(row, relation=POOLED) for splits in relations for row in splits[split]]
        for split in relations[0]
    }


def _renamed(row: Example, names: set[str]) -> Example:
    return dataclasses.replace(row, relation=POOLED) if row.relation in names else row
