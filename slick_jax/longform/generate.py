"""Texts about entities: the model's samples and answers, resumable, each hanging on its entity and number alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slick_jax.data.tokenizer import Tokenizer
from slick_jax.hashing import digest
from slick_jax.longform.records import SOURCES, Entity, Text
from slick_jax.longform.store import Stage, text_of, text_row
from slick_jax.longform.writer import Sampling, Writer, Written
from slick_jax.models.transformer import Network
from slick_jax.progress import Progress


def generate(
    network: Network,
    params: Any,
    mesh: Any,
    tokenizer: Tokenizer,
    prompts: Mapping[str, str],
    sampling: Sampling,
    *,
    source: str,
    label: str = "",
    stage: Stage | None = None,
    encode: Callable[[list[str]], list[list[int]]] | None = None,
) -> list[Text]:
    """The texts of every prompt, entity by entity, the greedy one first.

    Args:
      params: on `mesh`, as `network.shardings` places them.
      prompts: entity id -> whole prompt (longform/prompts.py).
      source: of records.SOURCES; texts of another source have other noise.
      label: of answers, the arm and seed; it is part of their ids and not of the noise, so that arms are compared on
        the same noise.
      stage: where they are kept, part by part; with a whole table nothing is decoded.
      encode: as of Writer.

    Raises InputError for prompts that do not fit the model, and where a score is NaN or infinite.
    """
    names = list(prompts)
    if stage is not None and stage.done():
        return [text_of(row) for row in stage.read()[0]]
    slot = SOURCES.index(source)
    writer = Writer(network, mesh, tokenizer, list(prompts.items()), sampling, slot=slot, encode=encode)
    draws = sampling.numbers

    def make(part: Sequence[int]) -> tuple[list[dict[str, Any]], Counter]:
        texts = [
            _text(names[index], source, label, number, written)
            for index, found in zip(part, writer(params, part), strict=True)
            for number, written in zip(draws, found, strict=True)
        ]
        return [text_row(text) for text in texts], counts_of(texts)

    finished = stage.finished(len(names), writer.call) if stage is not None else 0
    progress = Progress(f"{source} {label}".strip(), len(names) * len(draws), "texts", finished * len(draws))

    def show(done: int) -> None:
        progress.show(done * len(draws))

    if stage is not None:
        rows, _ = stage.in_parts(range(len(names)), writer.call, make, show)
    else:
        rows = []
        for start in range(0, len(names), writer.call):
            rows += make(range(len(names))[start : start + writer.call])[0]
            show(min(start + writer.call, len(names)))
    return [text_of(row) for row in rows]


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
