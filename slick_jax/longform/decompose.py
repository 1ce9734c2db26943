"""Sentences to self-contained claims by a second checkpoint: few-shot, greedy, one sentence at a time.

After FActScore (Min et al. 2023), which breaks every sentence of a text into atomic facts with such a prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.errors import InputError
from slick_jax.files.hashing import digest
from slick_jax.longform.claims import Asked, Found, self_contained
from slick_jax.longform.store import Stage
from slick_jax.longform.writer import Sampling, Writer
from slick_jax.models.transformer import Network
from slick_jax.progress import Progress
from slick_jax.settings.longform import ClaimsConfig, WriteConfig

MARK = "- "  # before every claim
MOST_CLAIMS = 16  # of one sentence; a model that writes more repeats itself with small changes
TASK = (
    "Break the sentence down into short statements. Each holds one fact, can be understood alone, and names whom or"
    " what it is about."
)
SHOTS = (
    (
        Asked("Lise Meitner", "Born in Vienna in 1878, she studied physics and later moved to Berlin."),
        (
            "Lise Meitner was born in Vienna.", "Lise Meitner was born in 1878.", "Lise Meitner studied physics.",
            "Lise Meitner moved to Berlin.",
        ),
    ),
    (
        Asked("The Third Man", "The film, directed by Carol Reed, is set in post-war Vienna."),
        ("The Third Man is a film.", "The Third Man was directed by Carol Reed.", "The Third Man is set in Vienna.",
         "The Third Man is set after the war."),
    ),
    (
        Asked("Paracetamol", "It is used to treat pain and fever."),
        ("Paracetamol is used to treat pain.", "Paracetamol is used to treat fever."),
    ),
    (Asked("Arvo Niemi", "He never married."), ("Arvo Niemi never married.",)),
)  # fmt: skip
OUTPUTS = pa.schema(
    {
        "name": pa.string(),
        "words": pa.string(),
        "output": pa.string(),  # as the checkpoint wrote it
        "truncated": pa.bool_(),
    }
)


class ByModel:
    """Claims that a checkpoint writes down for a sentence; the sentence itself where it wrote none that can be used, or
    the sentence is longer than it can read."""

    name = "model"

    def __init__(
        self,
        network: Network,
        params: Callable[[], Any],
        mesh: Any,
        style: Qa | Chat,
        *,
        max_tokens: int = ClaimsConfig.max_tokens,
        rows: int = WriteConfig.rows,
        open_stage: Callable[[dict[str, Any]], Stage] | None = None,
    ):
        """params: called where something is to be written. open_stage: gives the table of OUTPUTS that what the
        checkpoint wrote is kept in, part by part, from the settings it hangs on; the checkpoint is for the caller to
        add."""
        self._network, self._params, self._mesh, self._style = network, params, mesh, style
        self._sampling = Sampling(samples=0, greedy=True, max_tokens=max_tokens, stop="\n\n", rows=rows)
        self._open_stage = open_stage

    def __call__(self, asked: Sequence[Asked]) -> list[Found]:
        distinct = list(dict.fromkeys(asked))  # samples repeat each other's sentences
        fitting = [one for one, fits in zip(distinct, self._fits(distinct), strict=True) if fits]
        rows = self._outputs(fitting) if fitting else []
        wrote = {one: (row["output"], row["truncated"]) for one, row in zip(fitting, rows, strict=True)}
        found = {one: read(one, *wrote.get(one, ("", False))) for one in distinct}
        return [found[one] for one in asked]

    def _fits(self, asked: list[Asked]) -> list[bool]:
        """Whether the checkpoint holds each sentence's prompt and what it may write. Raises InputError where it does
        not even hold the examples."""
        most = self._network.spec.max_position_embeddings
        prompts = [prompt_of(self._style, one) for one in (Asked("", ""), *asked)]
        sizes = [len(tokens) + self._sampling.max_tokens for tokens in self._style.encode(prompts)]
        if sizes[0] > most:
            raise InputError(
                f"longform.claims.model: {self._style.tokenizer.where} has {most} positions, and its examples need"
                f" {sizes[0]} with longform.claims.max_tokens={self._sampling.max_tokens}; lower that, or name another"
                " checkpoint"
            )
        return [size <= most for size in sizes[1:]]

    def _outputs(self, asked: list[Asked]) -> list[dict[str, Any]]:
        prompts = [("", prompt_of(self._style, one)) for one in asked]  # greedy: no noise hangs on the id
        stage = None
        if self._open_stage is not None:
            stage = self._open_stage({"prompts": digest(prompts), "sampling": self._sampling.protocol()})
            if stage.done():
                return stage.read()[0]
        encode = self._style.encode
        writer = Writer(self._network, self._mesh, self._style.tokenizer, prompts, self._sampling, encode=encode)

        def make(part: Sequence[int]) -> tuple[list[dict[str, Any]], Counter]:
            written = [draws[0] for draws in writer(self._params(), part)]
            rows = [
                asked[index]._asdict() | {"output": one.text, "truncated": one.truncated}
                for index, one in zip(part, written, strict=True)
            ]
            return rows, Counter(sentences=len(rows), truncated=sum(one.truncated for one in written))

        progress = Progress("claims", len(asked), "sentences", stage.finished(len(asked), writer.call) if stage else 0)
        if stage is not None:
            return stage.in_parts(range(len(asked)), writer.call, make, progress.show)[0]
        rows = []
        for start in range(0, len(asked), writer.call):
            rows += make(range(len(asked))[start : start + writer.call])[0]
            progress.show(len(rows))
        return rows


def prompt_of(style: Qa | Chat, asked: Asked) -> str:
    """The whole prompt for a sentence, behind examples."""
    lines = ["".join(f"{MARK}{claim}\n" for claim in claims) for _, claims in SHOTS]
    if isinstance(style, Chat):
        turns = [
            Example("", f"{TASK}\n{_question(shot)}", (text.rstrip("\n"),))
            for (shot, _), text in zip(SHOTS, lines, strict=True)
        ]
        return style.few_shot(turns, f"{TASK}\n{_question(asked)}")
    blocks = [f"{_question(shot)}\n{text}\n" for (shot, _), text in zip(SHOTS, lines, strict=True)]
    return f"{TASK}\n\n{''.join(blocks)}{_question(asked)}\n"


def read(asked: Asked, output: str, truncated: bool) -> Found:
    """The claims that an output begins with, a line each; the sentence itself where there is none.

    A line that is cut off, empty or far longer than the sentence is none, and one that is written again counts once;
    an output with more than MOST_CLAIMS is not trusted.
    """
    lines = output.split("\n")
    run = next((place for place, line in enumerate(lines) if not line.startswith(MARK)), len(lines))
    lines = lines[: run - 1 if truncated and run == len(lines) else run]
    most = 2 * len(asked.words.split()) + 2 * len(asked.name.split()) + 8
    claims = {}
    for line in lines:
        words = " ".join(line.removeprefix(MARK).split())
        if any(character.isalnum() for character in words) and len(words.split()) <= most:
            claims.setdefault(words.casefold(), self_contained(asked.name, words))
    if not 0 < len(claims) <= MOST_CLAIMS:
        return Found([(self_contained(*asked), None)], fell_back=True)
    return Found([(words, None) for words in claims.values()])


def _question(asked: Asked) -> str:
    return f"About: {' '.join(asked.name.split())}\nSentence: {asked.words}\nStatements:"
