"""Does the model say it again? The share of its other texts about an entity that hold a claim.

Where sentences were parsed, a text holds the claim exactly if it states the same (relation, value). Of claims that are
words only, what is counted is overlap, not entailment: the share of a claim's content words (without the entity's name)
that the best sentence of the text holds. It knows neither paraphrase nor negation, and reports call it overlap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from slick_jax.errors import InputError
from slick_jax.knowledge.match import normalise
from slick_jax.longform.records import Claim, Entity, Text

# Words that say nothing of what is claimed: of grammar alone. No "not", "no", "never": they change a claim.
_OF_GRAMMAR = (
    "am and are as at be been being but by did do does for from had has have he her hers him his i if in into is it its"
    " itself of off on or our she so than that their them then there these they this those to too us was we were which"
    " who whom whose will with would you your"
)
STOPWORDS = frozenset(_OF_GRAMMAR.split())


def content_words(text: str, without: str = "") -> frozenset[str]:
    """Normalised words of `text` (lower case, no punctuation, no articles) but for stopwords and those of `without`."""
    return frozenset(normalise(text).split()) - STOPWORDS - frozenset(normalise(without).split())


@dataclass(frozen=True)
class _Told:
    """A text as claims are looked up in it."""

    id: str
    facts: frozenset[tuple[str, str]]
    sentences: tuple[frozenset[str], ...]


class Consistency:
    """The scorer `consistency`."""

    names = ("consistency",)

    def __init__(self, texts: Sequence[Text], claims: Sequence[Claim], sentences: Mapping[str, Sequence[str]]):
        """The un-tuned model's own texts (generated or resampled), also those without a claim, their claims, and their
        sentences by text id. A text counts for the claims of every other text of its entity, not for its own."""
        own = [text for text in texts if text.source in ("generated", "resampled")]
        facts: dict[str, set] = defaultdict(set)
        for claim in claims:
            if claim.fact is not None:
                facts[claim.text].add(claim.fact)
        self._told: dict[str, list[_Told]] = defaultdict(list)
        for text in own:
            words = tuple(content_words(sentence) for sentence in sentences.get(text.id, ()))
            self._told[text.entity].append(_Told(text.id, frozenset(facts[text.id]), words))

    def score(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> Float[np.ndarray, "1 n"]:
        """Between 0 and 1. Raises InputError naming entities that have no other text."""
        found, alone = np.empty(len(claims)), set()
        for number, claim in enumerate(claims):
            others = [told for told in self._told.get(claim.entity, ()) if told.id != claim.text]
            if not others:
                alone.add(claim.entity)
            elif claim.fact is not None:
                found[number] = np.mean([claim.fact in told.facts for told in others])
            else:
                words = content_words(claim.claim, entities[claim.entity].name) or content_words(claim.claim)
                found[number] = np.mean([_overlap(words, told) for told in others])
        if alone:
            named = ", ".join(sorted(alone)[:5])
            raise InputError(
                f"consistency: {len(alone)} entities ({named}) have no other text to look a claim up in; set"
                " longform.resamples to 1 or more, or leave consistency out of longform.scorers"
            )
        return found[None]


def _overlap(words: frozenset[str], told: _Told) -> float:
    """Share of the words that the best sentence holds; 0 for a text without sentences, or a claim without words."""
    return max((len(words & sentence) for sentence in told.sentences), default=0) / max(len(words), 1)
