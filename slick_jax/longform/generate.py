"""Texts about entities: the model's samples and answers, resumable, each hanging on its entity and number alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slick_jax.data.tokenizer import Tokenizer
from slick_jax.files.hashing import digest
from slick_jax.longform.records import SOURCES, Entity, Text
from slick_jax.longform.store import Stage, text_of, text_row
from slick_jax.longform.writer import Sampling, Writer, Written
from slick_jax.models.transformer import Network
from slick_jax.progress import Progress


class Generator:
    """Writes about the same entities again and again, with whatever parameters it is given: the arms of a study share
    its programs, which compile once."""

    def __init__(
        self,
        network: Network,
        mesh: Any,
        tokenizer: Tokenizer,
        prompts: Mapping[str, str],
        sampling: Sampling,
        *,
        source: str,
        encode: Callable[[list[str]], list[list[int]]] | None = None,
    ):
        """Args:
        prompts: entity id -> whole prompt (longform/prompts.py).
        source: of records.SOURCES; texts of another source have other noise.
        encode: as of Writer.

        Raises InputError for prompts that do not fit the model.
        """
        self._names, self._source, self._draws = list(prompts), source, sampling.numbers
        slot = SOURCES.index(source)
        self._writer = Writer(network, mesh, tokenizer, list(prompts.items()), sampling, slot=slot, encode=encode)

    def __call__(self, params: Any, *, label: str = "", stage: Stage | None = None) -> list[Text]:
        """The texts of every prompt, entity by entity, the greedy one first.

        Args:
          params: on the mesh, as `network.shardings` places them.
          label: of answers, the arm and seed; it is part of their ids and not of the noise, so that arms are compared
            on the same noise.
          stage: where they are kept, part by part; with a whole table nothing is decoded.

        Raises InputError where a score is NaN or infinite.
        """
        count, size, draws = len(self._names), self._writer.call, len(self._draws)
        finished = stage.finished(count, size) if stage is not None else 0
        progress = Progress(f"{self._source} {label}".strip(), count * draws, "texts", finished * draws)

        def make(part: Sequence[int]) -> tuple[list[dict[str, Any]], Counter]:
            texts = self._texts(params, part, label)
            return [text_row(text) for text in texts], counts_of(texts)

        if stage is not None:
            rows, _ = stage.in_parts(range(count), size, make, lambda done: progress.show(done * draws))
            return [text_of(row) for row in rows]
        texts = []
        for start in range(0, count, size):
            texts += self._texts(params, range(count)[start : start + size], label)
            progress.show(len(texts))
        return texts

    def _texts(self, params: Any, part: Sequence[int], label: str) -> list[Text]:
        return [
            _text(self._names[index], self._source, label, number, written)
            for index, found in zip(part, self._writer(params, part), strict=True)
            for number, written in zip(self._draws, found, strict=True)
        ]


def gold_texts(entities: Sequence[Entity], tokenizer: Tokenizer) -> list[Text]:
    """The reference texts, as texts of source gold."""
    lengths = map(len, tokenizer.encode_batch([entity.reference for entity in entities], framed=False))
    return [
        Text(f"{entity.id}/gold/0", entity.id, "gold", 0, entity.reference, length)
        for entity, length in zip(entities, lengths, strict=True)
    ]


def protocol_of(
    prompts: Mapping[str, str], sampling: Sampling, tokenizer: Tokenizer, *, source: str, label: str, model: Any
) -> dict[str, Any]:
    """Settings of a stage of generated texts; `model` stands for the weights and their arithmetic."""
    return {
        "prompts": digest(list(prompts.items())), "sampling": sampling.protocol(), "source": source, "label": label,
        "tokenizer": tokenizer.fingerprint(), "model": model,
    }  # fmt: skip


def counts_of(texts: Sequence[Text]) -> Counter:
    """What texts are: how many, how many of them empty or cut at the token limit, and their tokens."""
    return Counter(
        texts=len(texts), empty=sum(not text.text for text in texts), truncated=sum(text.truncated for text in texts),
        tokens=sum(text.n_tokens for text in texts),
    )  # fmt: skip


def _text(entity: str, source: str, label: str, number: int, written: Written) -> Text:
    name = "/".join([entity, source, *([label] if label else []), str(number)])
    return Text(name, entity, source, number, written.text, written.n_tokens, written.truncated)
