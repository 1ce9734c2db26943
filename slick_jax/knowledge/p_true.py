"""P(True): shown a question and its first gold answer, how likely does the model call the answer true?

Kadavath et al. 2022, section 3; appendix J of the paper. The score is the probability of the tokens that write `(A)`,
against `(B)`, behind a prompt without exemplars. What a question asks is a tree of tokens like those of verification:
the prompt, and behind it the tokens that lead to either letter, where there is more than one.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.data.prompts import PrefixTable, Rest
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.knowledge.batches import pack_trees
from slick_jax.knowledge.forward import Device
from slick_jax.knowledge.shapes import Shapes
from slick_jax.knowledge.trees import Node, Tree
from slick_jax.models.transformer import KV

PREFIX = ("p_true",)  # key of what all prompts share; no exemplar set has it
FORM = (
    "Question: {question}\nProposed Answer: {answer}\nIs the proposed answer:\n(A) True\n(B) False\n"
    "The proposed answer is:"
)
LETTERS = "A", "B"  # true, false
CHUNK = 4096  # prompts handed to the tokenizer at once


def form(row: Example) -> str:
    """What the model is given; in a chat it is the user's message, and the assistant begins with a verdict."""
    return FORM.format(question=row.question, answer=row.answers[0])


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A proposed answer as tokens.

    kept: the tokens up to where `(A)` and `(B)` part, for `PrefixTable.rest`; tails: from there on those that write
    either, each up to the token with its letter. Most tokenizers need one token each.
    """

    kept: Rest
    tails: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def extra(self) -> int:
        """Tokens that are forwarded behind those that the tails share."""
        return sum(len(tail) - 1 for tail in self.tails)


def tokenise(
    style: Qa | Chat, rows: Sequence[Example], table: PrefixTable, max_positions: int | None
) -> list[Proposal]:
    """The proposals of `rows`; their prompts are tokenised whole with either verdict and added to `table`.

    Raises InputError when the tokenizer writes no `(A)` and `(B)`, or a prompt is longer than `max_positions`.
    """
    found = []
    for start in range(0, len(rows), CHUNK):
        prompts = [style.zero_shot(form(row)) for row in rows[start : start + CHUNK]]
        whole = iter(style.encode([f"{text}{style.before}({letter})" for text in prompts for letter in LETTERS]))
        for row, true, false in zip(rows[start : start + CHUNK], whole, whole, strict=False):
            context, tails = split(style.tokenizer, true, false)
            length = len(context) + max(map(len, tails)) - 1
            if max_positions is not None and length > max_positions:
                raise InputError(
                    f"row {row.id!r}: its prompt for annotate.p_true has {length} tokens, more than the model's"
                    f" max_position_embeddings={max_positions}; shorten the row, or set annotate.p_true to False"
                )
            found.append(Proposal(table.add(PREFIX, context), tails))
    return found


def split(
    tokenizer: Tokenizer, true: Sequence[int], false: Sequence[int]
) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
    """The tokens that a prompt with `(A)` and one with `(B)` share, and the tails of a `Proposal`."""
    fork = next((place for place, (one, other) in enumerate(zip(true, false, strict=False)) if one != other), None)
    tails = []
    for whole, letter in zip((true, false), LETTERS, strict=True):
        tail, text = [], b""
        for token in whole[fork:] if fork else ():
            tail.append(token)
            text += tokenizer.token_bytes[token]
            if letter.encode() in text:
                tails.append(tuple(tail))
                break
    if len(tails) < len(LETTERS):
        raise InputError(
            f"{tokenizer.where}: the tokenizer cannot write '(A)' and '(B)', so P(True) cannot be asked; set"
            " annotate.p_true to False"
        )
    return list(true[:fork]), tuple(tails)


@dataclasses.dataclass(frozen=True)
class Ask:
    """One proposal on its way: place `number` of the result, slot `prefix` of the bank; `false` opens its second tail.

    name: of sampling noise, which P(True) has none of.
    """

    number: int
    prefix: int
    false: int
    name: tuple[int, int, int] = (0, 0, 0)


def grow(ask: Ask, rest: Sequence[int], tails: Sequence[Sequence[int]]) -> Tree:
    """The tree of a proposal: the prompt's own tokens `rest`, then what leads to the last token of each tail."""
    tokens, depth, nodes = list(rest), list(range(len(rest))), []
    end = [len(rest) + sum(len(tail) - 1 for tail in tails)] * len(rest)
    for tail in tails:
        nodes.append(Node(len(rest) - 1, (), tail[0]))
        behind = len(tokens) + len(tail) - 1
        for step in range(1, len(tail)):
            nodes.append(Node(len(tokens), tuple(tail[:step]), tail[step]))
            tokens.append(tail[step - 1])
            depth.append(len(rest) + step - 1)
            end.append(behind)
    return Tree(ask, tokens, depth, end, nodes)


class Scoring:
    """Proposals that are scored together: dispatched at once, fetched by `result`.

    proposals: (the prompt's own tokens, tails) each; prefix: slot in `bank` of what all prompts share.
    """

    def __init__(
        self,
        proposals: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
        prefix: int,
        device: Device,
        bank: KV,
        shapes: Shapes,
    ):
        self._device, self._n = device, len(proposals)
        trees = [grow(Ask(number, prefix, tails[1][0]), rest, tails) for number, (rest, tails) in enumerate(proposals)]
        batches = pack_trees(trees, shapes)
        self._tokens = sum(batch.real for batch in batches)
        self._started = [(batch.judged, device.dispatch(bank, batch)) for batch in batches]

    def result(self) -> tuple[list[float], Counter]:
        """P(True) of every proposal, and the counter p_true_tokens. Raises InputError when a logit is NaN."""
        logprob = np.zeros((self._n, 2))
        for calls, readouts in self._started:
            for judged, readout in zip(calls, readouts, strict=True):
                gold = self._device.fetch(readout).gold
                for shard, place, ask, node in judged.nodes:
                    first = node.path[0] if node.path else node.target
                    logprob[ask.number, int(first == ask.false)] += float(gold[shard, place])
        scores = np.exp(-np.logaddexp(0.0, logprob[:, 1] - logprob[:, 0]))
        return scores.tolist(), Counter(p_true_tokens=self._tokens)
