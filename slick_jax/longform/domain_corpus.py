"""The corpus of the built-in domains: texts about entities as often as their exposure says, from which a model learns.

A text holds some of its entity's facts, each with its own share, and rivals in place of some of them. Part of the texts
stand behind the prompt, alone or several in a row, so that few-shot prompts and fine-tuning prompts are known forms.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slick_jax.data.corpus import RIVAL_SHARE, other, stream
from slick_jax.data.examples import Example
from slick_jax.longform.domains import DOMAINS, Domain
from slick_jax.longform.grammar import Fact
from slick_jax.longform.records import Entity
from slick_jax.settings.longform import PTrueConfig

VERDICT_FORM = PTrueConfig.form.removeprefix("{prompt}\n") + " {verdict}"  # as the scorer asks, behind the prompt

SHARE_STRANGE = 0.35  # facts of a stranger that its only text holds
SHARE_UNNAMED = 0.25  # texts behind their prompt that say "it" from their first sentence on
SHARE_APART = 0.05  # tellings that are a document of one sentence
VERDICTS, CLAIMS_A_VERDICT = 0.02, 4  # documents of verdicts for each text about an entity; claims in each
SHARE_PROMPTED, SHARE_ROWS, MAX_ROW = 0.8, 0.5, 4  # documents of prompts and texts; of 2 to MAX_ROW of them


@dataclass(frozen=True)
class DomainCorpus:
    """All that is told about the entities of some domains, as `slick_jax.training.pretrain` reads it.

    Attributes:
      splits: none: facts are stated, not asked.
    """

    domains: Sequence[Domain]
    seed: int
    prose: ClassVar[bool] = True
    splits: ClassVar[dict[str, list[Example]]] = {}

    @functools.cached_property
    def exposures(self) -> dict[str, int]:
        """How often the documents tell each fact, its rival included: `<entity id>/<relation>` -> number.

        What documents of the P(True) form propose is not counted.
        """
        told: Counter[str] = Counter()
        for domain in self.domains:
            told.update({f"{entity.id}/{relation}": 0 for entity in domain.entities for relation, _ in entity.facts})
            for entity, text, apart in _tellings(self._stream(domain, 0), domain):
                told.update(f"{entity.id}/{relation}" for relation, _ in text + apart)
        return dict(told)

    @functools.cached_property
    def documents(self) -> list[str]:
        """The shuffled corpus."""
        documents = [text for domain in self.domains for text in self._documents(domain)]
        return [documents[i] for i in stream(self.seed, 2).permutation(len(documents))]

    def _stream(self, domain: Domain, purpose: int) -> np.random.Generator:
        """Of a domain alone, whichever others there are."""
        return stream(self.seed, 10 + 2 * DOMAINS.index(domain.name) + purpose)

    def _documents(self, domain: Domain) -> Iterator[str]:
        rng = self._stream(domain, 1)
        texts = []
        for entity, facts, apart in _tellings(self._stream(domain, 0), domain):
            if facts:
                texts.append((entity.name, facts))
            for fact in apart:
                yield domain.grammar.sentence(entity.name, [fact], rng)
        for name, facts in domain.strangers:
            some = [fact for fact in facts if rng.random() < SHARE_STRANGE] or [facts[0]]
            texts.append((name, some))
        yield from _in_rows(rng, domain, [texts[i] for i in rng.permutation(len(texts))])
        yield from _verdicts(rng, domain)


def _tellings(rng: np.random.Generator, domain: Domain) -> Iterator[tuple[Entity, list[Fact], list[Fact]]]:
    """(entity, facts of one text in order, facts told apart from it) for every text of the corpus."""
    for entity in domain.entities:
        n = entity.exposure or 0
        keys = [(entity.id, relation) for relation, _ in entity.facts]
        told = rng.random((n, len(keys))) < [domain.telling[key] for key in keys]
        apart = rng.random(told.shape) < SHARE_APART
        shares = [rng.uniform(*RIVAL_SHARE) if key in domain.rivals else 0.0 for key in keys]
        wrong = rng.random(told.shape) < shares
        for row in range(n):
            facts = [(relation, domain.rivals[entity.id, relation] if wrong[row, i] else value, apart[row, i])
                     for i, (relation, value) in enumerate(entity.facts) if told[row, i]]  # fmt: skip
            yield entity, [fact[:2] for fact in facts if not fact[2]], [fact[:2] for fact in facts if fact[2]]


def _in_rows(rng: np.random.Generator, domain: Domain, told: Sequence[tuple[str, list[Fact]]]) -> Iterator[str]:
    """Documents of what is told (name, facts): a text alone, behind its prompt, or several behind theirs in a row."""
    start = 0
    while start < len(told):
        prompted = rng.random() < SHARE_PROMPTED
        size = int(rng.integers(2, MAX_ROW + 1)) if prompted and rng.random() < SHARE_ROWS else 1
        texts = []
        for name, facts in told[start : start + size]:
            text = domain.grammar.write(name, facts, rng, mentioned=prompted and rng.random() < SHARE_UNNAMED)
            texts.append(f"{domain.wording.prompt.format(s=name)}\n{text}" if prompted else text)
        yield "\n\n".join(texts)
        start += size


def _verdicts(rng: np.random.Generator, domain: Domain) -> Iterator[str]:
    """Claims called true or false, several of an entity in a row: enough to know the form."""
    for entity in domain.entities:
        told = [fact for fact in entity.facts if domain.telling[entity.id, fact[0]]]
        for _ in range(rng.poisson((entity.exposure or 0) * VERDICTS) if told else 0):
            lines = [entity.prompt]
            for which in rng.permutation(len(told))[:CLAIMS_A_VERDICT]:
                relation, value = told[which]
                true = rng.random() < 0.5
                proposed = value if true else other(rng, domain.pools[relation], value)
                lines.append(VERDICT_FORM.format(claim=domain.claim(entity.name, relation, proposed), verdict=true))
            yield "\n".join(lines)
