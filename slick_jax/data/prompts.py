"""Few-shot prompts (paper section 3) as tokens: a shared prefix, and each question's own rest; answers as drafts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.progress import Progress


@dataclasses.dataclass(frozen=True)
class Draft:
    """An answer as tokens: `tokens` up to the stop, then the `stop` token that ends it; `text` is what they spell."""

    tokens: tuple[int, ...]
    stop: int
    text: str


def draft_answers(style: Qa | Chat, rows: Sequence[Example]) -> list[list[Draft]]:
    """Per row and answer, the tokens with which the model would most likely write the answer and end it.

    A draft decides how fast an answer is verified, never the result, so the exemplars are left out.
    """
    prompts = [style.few_shot([], row.question) for row in rows]
    texts = [
        f"{prompt}{style.before}{answer}{style.after}"
        for prompt, row in zip(prompts, rows, strict=True)
        for answer in row.answers
    ]
    whole = iter(style.encode(texts))
    return [
        [_draft(style, prompt, next(whole), answer) for answer in row.answers]
        for prompt, row in zip(style.encode(prompts), rows, strict=True)
    ]


def _draft(style: Qa | Chat, opened: list[int], whole: list[int], answer: str) -> Draft:
    tokenizer = style.tokenizer
    if whole[: len(opened)] == opened:
        rest = whole[len(opened) :]
        end = next((i for i, token in enumerate(rest) if tokenizer.is_stop[token]), len(rest))
        text = _spell(tokenizer, rest[:end])
        if end < len(rest) and style.ends(rest[end]):
            return Draft(tuple(rest[:end]), rest[end], text)
    # the tokenizer merges across the end of the prompt, or has no token for a part of the answer: cut the bytes instead
    tokens = tokenizer.longest_match(f"{style.before}{answer}".encode())
    return Draft(tuple(tokens), style.stop, _spell(tokenizer, tokens))


def _spell(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    return b"".join([tokenizer.token_bytes[token] for token in tokens]).decode("utf-8", "replace")


class Rest(NamedTuple):
    """A prompt behind exemplar set `key`: its `tokens` from place `start` on, where the prefix known so far ended."""

    key: object
    start: int
    tokens: np.ndarray


class PrefixTable:
    """Prompts of many questions behind few exemplar sets, as shared prefixes and per-question rests.

    The prefix of an exemplar set is the longest common token prefix of all its prompts, at least one token shorter than
    the shortest. Only rests are kept in memory: a prompt stores what lies behind the prefix known when it was added.
    """

    def __init__(self):
        self._first: dict[object, np.ndarray] = {}
        self._common: dict[object, int] = {}

    def add(self, key: object, tokens: Sequence[int]) -> Rest:
        """Take in one prompt's tokens behind exemplar set `key`; the result is for `rest`."""
        row = np.asarray(tokens, np.int32)
        first = self._first.setdefault(key, row)
        common = min(self._common.get(key, len(row)), len(row) - 1)
        differs = np.flatnonzero(row[:common] != first[:common])
        self._common[key] = int(differs[0]) if differs.size else common
        return Rest(key, self._common[key], row[self._common[key] :].copy())

    def prefix(self, key: object) -> np.ndarray:
        """Token ids of the shared prefix of exemplar set `key`, once every prompt has been added."""
        return self._first[key][: self._common[key]]

    def rest(self, prompt: Rest) -> np.ndarray:
        """Token ids of a prompt behind its set's final prefix."""
        return np.concatenate([self._first[prompt.key][self._common[prompt.key] : prompt.start], prompt.tokens])


def tokenise_prompts(
    style: Qa | Chat,
    questions: Iterable[tuple[Example, Sequence[tuple[object, Sequence[Example]]]]],
    progress: Progress | None = None,
    chunk: int = 4096,
) -> tuple[PrefixTable, list[list[Rest]]]:
    """Tokenise every prompt of `questions` whole, as transformers would.

    Args:
      questions: (example, [(key of the exemplar set, its exemplars), ...]) per question.
      chunk: prompts handed to the tokenizer at once.

    Returns:
      the prefix table and, per question and set, what `PrefixTable.rest` turns into the question's own tokens.
    """
    table, rows, waiting = PrefixTable(), [], []

    def flush():
        for (row, key, _), tokens in zip(waiting, style.encode([text for *_, text in waiting]), strict=True):
            row.append(table.add(key, tokens))
        waiting.clear()
        if progress is not None:
            progress.show(len(rows))

    for example, sets in questions:
        rows.append([])
        waiting.extend((rows[-1], key, style.few_shot(exemplars, example.question)) for key, exemplars in sets)
        if len(waiting) >= chunk:
            flush()
    flush()
    return table, rows
