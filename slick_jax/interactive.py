"""A model to put questions to by hand, in a notebook: its answers, its samples, and what it knows of a few rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import pandas as pd
from etils import epath

from slick_jax import tuned
from slick_jax.config import AnnotateConfig, Config, DataConfig
from slick_jax.data.examples import Example, example_of, raise_problems
from slick_jax.data.prompt_styles import fine_tuning_prompt, prompt_style
from slick_jax.errors import InputError
from slick_jax.files.hashing import id_words
from slick_jax.knowledge import preparation, records, store
from slick_jax.knowledge.answer_text import text_of
from slick_jax.knowledge.engine import Engine
from slick_jax.mesh import make_mesh
from slick_jax.sampling.sampler import Prompt, Sampler
from slick_jax.settings.rules import problems

Row = Example | Mapping[str, Any]  # a mapping has the fields of a line of data.path (docs/data.md)


class Model:
    """A checkpoint on the devices of this process; made by `slick_jax.load_model`.

    Attributes:
      path: what was loaded.
      spec: sizes and switches of the network (`slick_jax.models.spec.ModelSpec`).
      tokenizer: of the checkpoint (`slick_jax.data.tokenizer.Tokenizer`).
    """

    def __init__(self, path: epath.PathLike, config: Config):
        """`config`: its settings of model, mesh and annotate count. Raises InputError where there is no such model."""
        self.path, self._config = str(path), config
        model, self._network, self.tokenizer = tuned.open_model(path, config.model)
        self.spec = self._network.spec
        self._style = prompt_style(config.annotate, self.tokenizer)
        self._mesh = make_mesh(config.mesh)
        with jax.set_mesh(self._mesh):
            self._params = model.load(self._network, self._mesh)
        self._samplers: dict[tuple, Sampler] = {}

    def __repr__(self) -> str:
        return f"<model {self.path}: {self.spec.n_layers} layers of width {self.spec.d_model}>"

    def answer(self, questions: str | Sequence[str], exemplars: Sequence[Row] = (), max_tokens: int = 32) -> list[str]:
        """The greedy answer to each question: the text before the first newline or end-of-text.

        Behind `exemplars`, question-answer rows in the order of the prompt; without any, the question is put as in
        fine-tuning, which a model that was not tuned so hardly understands. Raises InputError for a question that does
        not fit the model.
        """
        return [texts[0] for texts in self._write(questions, exemplars, (0,), max_tokens, 1.0, 1, 0)]

    def sample(
        self,
        questions: str | Sequence[str],
        n: int = 16,
        exemplars: Sequence[Row] = (),
        *,
        temperature: float = 0.5,
        top_k: int = 40,
        max_tokens: int = 32,
        seed: int = 0,
    ) -> list[list[str]]:
        """`n` sampled answers to each question; their noise hangs on the question and `seed`. Raises as `answer`."""
        return self._write(questions, exemplars, tuple(range(1, n + 1)), max_tokens, temperature, top_k, seed)

    def p_correct(self, rows: Sequence[Row], exemplars: Sequence[Row] = (), **settings: Any) -> pd.DataFrame:
        """What `slick annotate` measures, for a few rows and without a run folder: a row each, in their order.

        Args:
          rows: questions with their right answers.
          exemplars: rows that exemplar sets are drawn from, of the relations of `rows`; empty: `rows` themselves, none
            behind itself.
          settings: of annotation (`annotate.*`), such as n_samples=4 or match="strict".

        Returns the columns of docs/annotations.md without `protocol`. Raises InputError for bad rows or settings, and
        for too few exemplars (docs/data.md).
        """
        config = self._with(settings)
        chosen = config.annotate
        asked, pool = _examples(rows, "row", "train"), _examples(exemplars, "exemplar", "dev")
        drawn = preparation.ask(config, {"train": asked, "dev": pool} if pool else {"train": asked})
        prepared = preparation.prepare(config, drawn, self.tokenizer, self.spec.max_position_embeddings)
        found = {}
        with jax.set_mesh(self._mesh):
            engine = Engine(config, self._network, self._mesh, self.tokenizer, prepared, self._params)
            for number, verified, scores, _ in engine.verify(range(len(prepared.parts))):
                for index, one, score in zip(prepared.parts[number], verified, scores, strict=True):
                    row = records.record(asked[index], prepared.assigned[index], one, chosen)
                    found[index] = row | {"p_true": score}
        table = pd.DataFrame([found[index] for index in range(len(asked))])
        records.add_certainty(table, chosen)
        return table[[name for name in store.OUTPUT_SCHEMA.names if name != "protocol"]]

    def _with(self, settings: Mapping[str, Any]) -> Config:
        """The config with other settings of annotation."""
        known = [field.name for field in dataclasses.fields(AnnotateConfig)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise InputError(f"p_correct: no setting {', '.join(unknown)} of annotation; there are {', '.join(known)}")
        annotate = dataclasses.replace(self._config.annotate, **settings)
        config = dataclasses.replace(self._config, annotate=annotate, data=DataConfig())
        if found := problems(config):
            raise InputError.of(found)
        return config

    def _write(
        self, questions: str | Sequence[str], exemplars: Sequence[Row], numbers: tuple[int, ...], max_tokens: int,
        temperature: float, top_k: int, seed: int,
    ) -> list[list[str]]:  # fmt: skip
        """The texts of the draws `numbers` of every question."""
        asked = [questions] if isinstance(questions, str) else list(questions)
        shots = _examples(exemplars, "exemplar", "dev")
        put = self._style.few_shot if shots else lambda _, one: self._style.zero_shot(fine_tuning_prompt(one))
        prompts = self._style.encode([put(shots, one) for one in asked]) if asked else []
        self._check(asked, prompts, max_tokens)
        named = [Prompt(tokens, (*id_words(one), 0)) for one, tokens in zip(asked, prompts, strict=True)]
        key = numbers, max_tokens, temperature, top_k, seed
        with jax.set_mesh(self._mesh):
            sampler = self._samplers.setdefault(key, self._samplers.get(key) or self._sampler(*key))
            drawn = sampler(self._params, named)
        return [[text_of(self.tokenizer, tokens)[0].strip() for tokens in draws] for draws in drawn]

    def _check(self, asked: Sequence[str], prompts: Sequence[list[int]], max_tokens: int) -> None:
        limit = self.spec.max_position_embeddings
        for one, tokens in zip(asked, prompts, strict=True):
            if limit is not None and len(tokens) + max_tokens > limit:
                raise InputError(
                    f"question {one[:60]!r}: its prompt has {len(tokens)} tokens, and max_position_embeddings={limit}"
                    f" leaves fewer than max_tokens={max_tokens} behind it; shorten it, or give fewer exemplars"
                )

    def _sampler(
        self, numbers: tuple[int, ...], max_tokens: int, temperature: float, top_k: int, seed: int
    ) -> Sampler:
        if not numbers or max_tokens < 1 or temperature <= 0 or top_k < 1:
            raise InputError(
                f"n={len(numbers)}, max_tokens={max_tokens}, temperature={temperature}, top_k={top_k}: give n,"
                " max_tokens and top_k of 1 or more, and a temperature above 0"
            )
        return Sampler(
            self._network, self._mesh, stops=self.tokenizer.is_stop, numbers=numbers, max_tokens=max_tokens,
            temperature=temperature, top_k=min(top_k, self.tokenizer.n_ids), seed=seed, n_tokens=self.tokenizer.n_ids,
            rows=self._config.annotate.answer_rows,
        )  # fmt: skip


def _examples(rows: Sequence[Row], what: str, split: str) -> list[Example]:
    """Rows as examples. Raises InputError for bad ones, and for ids that occur twice."""
    found = [
        one if isinstance(one, Example) else example_of(dict(one), f"{what}.{place}", split)
        for place, one in enumerate(rows)
    ]
    ids = [one.id for one in found if isinstance(one, Example)]
    raise_problems(
        [f"{what} {place}: {one}" for place, one in enumerate(found) if isinstance(one, str)]
        + [f"{what}s: id {name!r} occurs twice" for place, name in enumerate(ids) if name in ids[:place]]
    )
    return found
