"""Greedy exact match without exemplars, through the verification of `slick annotate`: one greedy draw a question."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slick_jax.config import AnnotateConfig
from slick_jax.data.examples import ONE_RELATION, raise_problems
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.prompts import PrefixTable
from slick_jax.data.target_tokens import prompt_problem, target_problem, target_tokens
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.files.hashing import id_words
from slick_jax.knowledge.answer_text import text_of
from slick_jax.knowledge.forward import Device, Program
from slick_jax.knowledge.match import Golds, abstention_golds, matcher
from slick_jax.knowledge.shapes import Shapes, choose_shapes
from slick_jax.knowledge.verify import Protocol, Question, Verification, complete
from slick_jax.knowledge.walk import Vocabulary
from slick_jax.models.transformer import Network
from slick_jax.sampling.sampler import Prompt, Sampler

MAX_PREFIXES = 64  # shared beginnings kept on the device; with more relations than that, all share one


@dataclasses.dataclass(frozen=True)
class Asked:
    """A question as it is asked: the whole prompt, what counts as right, and the groups it is counted in."""

    id: str
    prompt: str
    answers: tuple[str, ...]
    relation: str = ONE_RELATION
    category: str = ""  # empty: not annotated


@dataclasses.dataclass(frozen=True)
class Answered:
    """Of N questions: hits bool[N 2] under (strict, the rule of annotate.match), abstained bool[N]."""

    hits: np.ndarray
    abstained: np.ndarray


@dataclasses.dataclass(frozen=True)
class Written(Answered):
    """Answers written out: texts, one a question, and what they are judged to be."""

    texts: tuple[str, ...]


class GreedyEvaluator:
    """Asks fixed groups of questions, again and again, of whatever parameters it is given; programs compile once.

    The greedy answer is what stands before the first newline or end-of-text; one that is still going after `max_tokens`
    tokens is wrong. The tokens with which all prompts of a relation begin are read once, as the shared prefix that
    verification knows.
    """

    def __init__(
        self,
        network: Network,
        mesh: Any,
        tokenizer: Tokenizer,
        groups: Mapping[str, Sequence[Asked]],
        settings: AnnotateConfig,
        max_tokens: int,
        where: str,
    ):
        """`where` names the checkpoint in errors. Raises InputError for answers longer than `max_tokens`, and prompts
        that the model cannot hold together with an answer."""
        self.groups = {name: list(rows) for name, rows in groups.items()}
        self._network, self._tokenizer, self._max_tokens = network, tokenizer, max_tokens
        self._rows = settings.answer_rows
        self._sampler: Sampler | None = None
        self._protocol = Protocol(n_samples=0, max_answer_tokens=max_tokens, pairs=())
        self._vocabulary = Vocabulary(tokenizer.token_bytes, tokenizer.is_stop.tolist())
        self._longest_match = tokenizer.longest_match
        rows = [row for name in self.groups for row in self.groups[name]]
        pairs = [(row.prompt, answer) for row in rows for answer in row.answers]
        style = prompt_style(settings, tokenizer)
        tokens = iter(target_tokens(style, *zip(*pairs, strict=True)))
        cut = [[next(tokens) for _ in row.answers] for row in rows]
        _check(rows, cut, max_tokens, network.spec.max_position_embeddings, where)
        end = style.end_of_answer(where)
        slots, self._prefixes = _share([row.relation for row in rows], [found[0][0] for found in cut])
        rule, abstentions = matcher(settings.match), abstention_golds(settings.abstain_phrases)
        questions = [
            Question(
                words=id_words(row.id),
                slots=[slot],
                golds=Golds(row.answers, rule),
                abstentions=abstentions,
                drafts=[(_draft(tokenizer, target), end) for _, target in found],
            )
            for row, slot, found in zip(rows, slots, cut, strict=True)
        ]
        given = iter(questions)
        self._questions = {name: list(itertools.islice(given, len(rows))) for name, rows in self.groups.items()}
        self._verifications: dict[str, Verification] = {}
        program = Program(network, 0, 1, 1, tokenizer.n_ids)
        length = max(1, *map(len, self._prefixes))  # prompts without BOS may share nothing
        self._device = Device(program, None, mesh, seed=0, temperature=1.0, prefix_length=length)
        self._shapes = _shapes(questions, max_tokens, settings.batch_tokens, self._device.shards)

    def __call__(self, params: Any, names: Sequence[str]) -> dict[str, Answered]:
        """The answers of the model with `params` to the named groups, all asked together."""
        self._device.params = params
        bank = self._device.bank(self._prefixes, len(self._prefixes))
        asked = [self._verification(name) for name in names]
        for verification in asked:
            verification.begin(bank)
        complete(asked)
        return {name: _answered(verification) for name, verification in zip(names, asked, strict=True)}

    def _verification(self, name: str) -> Verification:
        """The group's own, made when it is asked for the first time: its first round is the same at every time."""
        if name not in self._verifications:
            self._verifications[name] = Verification(
                self._questions[name], self._protocol, self._device, self._vocabulary, self._longest_match, self._shapes
            )
        return self._verifications[name]

    def write(self, params: Any, names: Sequence[str]) -> dict[str, Written]:
        """The same greedy answers written out to their end by the ordinary sampler, and judged as texts.

        Costs a few times what `__call__` does, which looks no further than the token that makes an answer wrong.
        """
        self._device.params = params
        bank = self._device.bank(self._prefixes, len(self._prefixes))
        self._sampler = self._sampler or self._make_sampler()
        asked = [one for name in names for one in self._questions[name]]
        prompts = [Prompt(tokens, (*one.words, 0), prefix) for one in asked for prefix, tokens in one.slots]
        drawn = [draws[0] for draws in self._sampler(params, prompts, bank)]
        texts = [text_of(self._tokenizer, tokens) for tokens in drawn]
        judged = [_judge(one, *text) for one, text in zip(asked, texts, strict=True)]
        written, end = {}, 0
        for name in names:
            mine = slice(end, end := end + len(self._questions[name]))
            found = np.array(judged[mine], bool).reshape(-1, 3)
            written[name] = Written(found[:, :2], found[:, 2], tuple(text for text, _ in texts[mine]))
        return written

    def _make_sampler(self) -> Sampler:
        return Sampler(
            self._network,
            self._device.mesh,
            stops=self._tokenizer.is_stop,
            numbers=(0,),
            max_tokens=self._max_tokens,
            n_tokens=self._tokenizer.n_ids,
            rows=self._rows,
        )


def _answered(verification: Verification) -> Answered:
    found, _ = verification.result()
    return Answered(
        np.array([one.hits[0, 0] for one in found], bool).reshape(-1, 2),
        np.array([one.abstained[0, 0] for one in found], bool),
    )


def _judge(question: Question, text: str, cut: bool) -> tuple[bool, bool, bool]:
    """(strict, by the rule, abstained) of an answer; one that was cut is wrong, and no abstention."""
    if cut:
        return False, False, False
    return *question.golds.match(text), question.abstentions is not None and any(question.abstentions.match(text))


def _share(relations: Sequence[str], prompts: Sequence[list[int]]) -> tuple[list[tuple[int, list[int]]], list]:
    """(number of its prefix, the prompt's own rest) per prompt, and the prefixes: what a relation's prompts share."""
    many = len(set(relations)) > MAX_PREFIXES
    keys = ["" if many else relation for relation in relations]
    table = PrefixTable()
    kept = [table.add(key, prompt) for key, prompt in zip(keys, prompts, strict=True)]
    number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    slots = [(number[key], table.rest(one).tolist()) for key, one in zip(keys, kept, strict=True)]
    return slots, [table.prefix(key) for key in number]


def _shapes(questions: Sequence[Question], max_tokens: int, batch_tokens: int, shards: int) -> Shapes:
    """Batch shapes that fit the first round, which is nearly all of the work."""
    rests = [len(one.slots[0][1]) for one in questions]
    longest = max(rests) + max_tokens - 1
    drafted = [sum(len(tokens) for tokens, _ in one.drafts) for one in questions]
    lengths = [min(rest + more, longest) for rest, more in zip(rests, drafted, strict=True)]
    return choose_shapes(lengths, longest, batch_tokens, shards)


def _draft(tokenizer: Tokenizer, target: list[int]) -> tuple[int, ...]:
    """The answer up to the first token that would end it."""
    end = next((place for place, token in enumerate(target) if tokenizer.is_stop[token]), len(target))
    return tuple(target[:end])


def _check(rows: Sequence[Asked], cut: list[list[tuple]], limit: int, positions: int | None, where: str) -> None:
    problems = [
        target_problem(row.id, f"the answer {answer!r}", target, limit)
        for row, found in zip(rows, cut, strict=True)
        for answer, (_, target) in zip(row.answers, found, strict=True)
    ]
    problems += [
        prompt_problem(row.id, found[0][0], limit, positions, where) for row, found in zip(rows, cut, strict=True)
    ]
    raise_problems([problem for problem in problems if problem])
