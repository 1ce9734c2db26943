"""The answers themselves: `annotate.answers` decodes every draw's text, keeps it, and checks the verified hits by it.

Verification decides hits without writing answers out; here they are written out, by the ordinary sampler with the same
noise, so that they can be read, and judged again by another rule (rescore.py).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax.config import AnnotateConfig, Config
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import records, store
from slick_jax.knowledge.answer_text import text_of
from slick_jax.knowledge.engine import Engine
from slick_jax.knowledge.forward import Device
from slick_jax.knowledge.match import Golds
from slick_jax.knowledge.preparation import Prepared
from slick_jax.knowledge.verify import Question
from slick_jax.sampling.sampler import Prompt, Sampler

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "exemplar_sets": pa.list_(pa.int32()),  # number of the exemplar set behind each slot
        "exemplar_rows": pa.list_(pa.list_(pa.int32())),  # with exemplars per question: pool rows of each slot's set
        "greedy": pa.list_(pa.string()),  # per slot
        "sampled": pa.list_(pa.list_(pa.string())),  # per slot and sample; null where only greedy answers are kept
        "greedy_truncated": pa.list_(pa.bool_()),  # cut at the token limit, and wrong whatever the text
        "sampled_truncated": pa.list_(pa.list_(pa.bool_())),
        "protocol": pa.string(),  # of the annotations they belong to
    }
)


class Answers:
    """Texts of a run, part by part beside its annotations, in samples/part-*.parquet."""

    def __init__(
        self, config: Config, prepared: Prepared, annotations: store.Parts, tokenizer: Tokenizer, leads: bool,
        looks: bool = False,
    ):  # fmt: skip
        """Open or start the folder; of several processes the first one `leads`, and one that only `looks` writes
        nothing.

        Raises InputError when it holds answers of another protocol.
        """
        settings = config.annotate
        protocol = {
            "annotations": annotations.protocol,
            "answers": settings.answers,
            "answer_rows": None if config.model.exact else settings.answer_rows,
        }
        self.parts = store.Parts(
            epath.Path(config.run_dir) / "samples", protocol, prepared.rows, settings.part_size, leads, SCHEMA,
            "answers", looks=looks,
        )
        self._prepared, self._annotations, self._tokenizer = prepared, annotations, tokenizer
        self._samples = _samples(settings)
        self._sampler: Sampler | None = None

    def write(self, number: int, engine: Engine) -> None:
        """Decode and write the answers of part `number`, and compare them with the part's verified hits."""
        part = self._prepared.parts[number]
        self._sampler = self._sampler or sampler(self._prepared.settings, self._tokenizer, engine.device)
        questions, texts = decode(self._sampler, engine, self._prepared, part)
        found = [self._record(index, mine) for index, mine in zip(part, texts, strict=True)]
        verified = self._annotations.read(number)[0].to_pylist()
        counts = Counter(draws=0, truncated=0, hits_differ=0)
        for question, kept, row in zip(questions, found, verified, strict=True):
            counts += Counter(compare(kept, row, question.golds))
        self.parts.write(number, found, counts)

    def summary(self, table: pd.DataFrame) -> dict[str, Any]:
        """What the answers add to the summary; with all of them `truncated` of `table`, in the data's order, becomes
        exact."""
        counts, truncated = Counter(), {}
        for number in range(len(self._prepared.parts)):
            kept, part_counts = self.parts.read(number)
            counts += part_counts
            truncated |= {row["id"]: _truncated(row) for row in kept.to_pylist()}
        if self._samples:
            table["truncated"] = [truncated[name] for name in table["id"]]
        names = ("draws", "truncated", "hits_differ")
        return {"kept": self._prepared.settings.answers} | {name: counts[name] for name in names}

    def _record(self, index: int, texts: Sequence[Sequence[Sequence[int]]]) -> dict[str, Any]:
        """Row `index` with its answers, from token ids [slot][draw]."""
        read = [[text_of(self._tokenizer, tokens) for tokens in draws] for draws in texts]
        return {
            "id": self._prepared.rows[index].id,
            **records.exemplar_columns(self._prepared.assigned[index], self._prepared.settings),
            "greedy": [draws[0][0] for draws in read],
            "greedy_truncated": [draws[0][1] for draws in read],
            "sampled": [[text for text, _ in draws[1:]] for draws in read] if self._samples else None,
            "sampled_truncated": [[cut for _, cut in draws[1:]] for draws in read] if self._samples else None,
            "protocol": self._annotations.protocol,
        }


def sampler(settings: AnnotateConfig, tokenizer: Tokenizer, device: Device) -> Sampler:
    """What decodes the answers that `annotate.answers` keeps."""
    return Sampler(
        device.program.network,
        device.mesh,
        stops=tokenizer.is_stop,
        numbers=range(1 + _samples(settings)),
        max_tokens=settings.max_answer_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        seed=settings.seed,
        n_tokens=tokenizer.n_ids,
        rows=settings.answer_rows,
    )


def decode(
    sampler: Sampler, engine: Engine, prepared: Prepared, part: Sequence[int]
) -> tuple[list[Question], list[list[list[list[int]]]]]:
    """The questions of these rows, and their answers as token ids [row][slot][draw]."""
    slots, bank = engine.bank(part)
    questions = [prepared.question(index, slots) for index in part]
    prompts = [
        Prompt(tokens, (*question.words, slot), prefix)
        for question in questions
        for slot, (prefix, tokens) in enumerate(question.slots)
    ]
    texts = iter(sampler(engine.device.params, prompts, bank))
    return questions, [[next(texts) for _ in question.slots] for question in questions]


def _samples(settings: AnnotateConfig) -> int:
    return settings.n_samples if settings.answers == "all" else 0


@dataclasses.dataclass(frozen=True)
class JudgedTexts:
    """What kept answers are: hits bool[J 1+n 2] under (strict, rule), abstained and truncated bool[J 1+n]."""

    hits: np.ndarray
    abstained: np.ndarray
    truncated: np.ndarray


def judge(kept: Mapping[str, Any], golds: Golds, abstentions: Golds | None = None) -> JudgedTexts:
    """Judge a row of kept answers; a truncated one is wrong, and no abstention."""
    sampled = kept["sampled"] or [[] for _ in kept["greedy"]]
    cut = kept["sampled_truncated"] or sampled
    texts = [[first, *rest] for first, rest in zip(kept["greedy"], sampled, strict=True)]
    truncated = np.array([[first, *rest] for first, rest in zip(kept["greedy_truncated"], cut, strict=True)], bool)
    known = {
        text: (*golds.match(text), abstentions is not None and any(abstentions.match(text)))
        for text in set().union(*texts)
    }
    judged = np.array([[known[text] for text in draws] for draws in texts], bool) & ~truncated[..., None]
    return JudgedTexts(judged[..., :2], judged[..., 2], truncated)


def compare(kept: Mapping[str, Any], row: Mapping[str, Any], golds: Golds) -> dict[str, int]:
    """Counts of one row: draws kept, those truncated, and those whose hit under either rule is not the verified one."""
    judged = judge(kept, golds)
    differ = np.zeros(judged.truncated.shape, bool)
    for axis, prefix in enumerate(("strict_", "")):
        differ[:, 0] |= judged.hits[:, 0, axis] != np.array(row[f"{prefix}greedy_hits"])
        if kept["sampled"] is not None and row[f"{prefix}sampled_hits"] is not None:
            differ[:, 1:] |= judged.hits[:, 1:, axis] != np.array(row[f"{prefix}sampled_hits"])
    return {
        "draws": int(differ.size), "truncated": int(judged.truncated.sum()), "hits_differ": int(differ.sum()),
    }  # fmt: skip


def _truncated(row: Mapping[str, Any]) -> int:
    return sum(row["greedy_truncated"]) + sum(map(sum, row["sampled_truncated"] or ()))
