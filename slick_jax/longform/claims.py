"""Texts to claims: by the grammar of a structured domain, by a second checkpoint (decompose.py), or by sentence.

Every sentence keeps its place in its text, and every text its place among the texts, whether or not claims come of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from slick_jax.longform.consistency import content_words
from slick_jax.longform.records import Claim, Entity, Text
from slick_jax.longform.sentences import is_complete, sentences

# A text that begins so says that it says nothing; compared without case and punctuation.
ABSTENTIONS = (
    "I don't know", "I do not know", "I'm not sure", "I am not sure", "I am unsure", "I'm sorry", "I am sorry",
    "I have no information", "I don't have", "I do not have", "I cannot", "I can't", "I could not find",
    "I couldn't find", "There is no information", "No information",
)  # fmt: skip
_WORD = re.compile(r"\w+")


class Asked(NamedTuple):
    """A sentence that claims are made from, and the name of the entity it is about."""

    name: str
    words: str


class Found(NamedTuple):
    """What came of a sentence: (claim, fact or None) each; parsed: by a grammar, None where there is none.

    fell_back: the sentence itself is the claim, as what the method made of it could not be used.
    """

    claims: Sequence[tuple[str, tuple[str, str] | None]]
    parsed: bool | None = None
    fell_back: bool = False


class Method(Protocol):
    """Makes claims of sentences: one result for each, in their order. `name` is told in reports."""

    name: str

    def __call__(self, asked: Sequence[Asked]) -> Sequence[Found]: ...


class Grammar(Protocol):
    """What a structured domain can do: read its own sentences (None: not one of them), and word a fact by itself."""

    def parse(self, sentence: str, entity_name: str) -> Sequence[tuple[str, str]] | None: ...

    def claim(self, entity_name: str, relation: str, value: str) -> str: ...


class ByGrammar:
    """Facts that a domain's grammar reads in a sentence, each worded anew."""

    name = "grammar"

    def __init__(self, domain: Grammar):
        self._domain = domain

    def __call__(self, asked: Sequence[Asked]) -> list[Found]:
        return [self._of(*one) for one in asked]

    def _of(self, name: str, words: str) -> Found:
        facts = self._domain.parse(words, name)
        if facts is None:
            return Found((), parsed=False)
        distinct = dict.fromkeys((relation, value) for relation, value in facts)
        return Found([(self._domain.claim(name, *fact), fact) for fact in distinct], parsed=True)


class BySentence:
    """Every sentence is one claim: the fallback where neither a grammar nor a second checkpoint is at hand."""

    name = "sentence"

    def __call__(self, asked: Sequence[Asked]) -> list[Found]:
        return [Found([(self_contained(*one), None)]) for one in asked]


@dataclass(frozen=True)
class Claims:
    """Rows of records.SENTENCES, the claims made from them, the name of the method, and counts.

    counts: texts, of them empty and abstained; sentences, of them cut (at the token limit), parsed, unparsed and
    fell_back; claims. Claims come of no sentence that is cut, nor of a text that abstains.
    """

    sentences: list[dict[str, Any]]
    claims: list[Claim]
    method: str
    counts: Counter


def claims_of(
    texts: Sequence[Text],
    entities: Mapping[str, Entity],
    method: Method,
    abstentions: Sequence[str] = ABSTENTIONS,
) -> Claims:
    """The sentences and claims of `texts`, in their order.

    entities: by id, of all texts. abstentions: how a text begins that has nothing to say.
    """
    rows, places, asked = [], [], []
    counts = Counter(texts=len(texts), empty=0, abstained=0, sentences=0, cut=0, parsed=0, unparsed=0, fell_back=0)
    for text in texts:
        found = sentences(text.text)
        # A title may begin like an abstention, and a reference has something to say.
        titled = _plain(text.text).startswith(_plain(entities[text.entity].name))
        silent = text.source != "gold" and not titled and abstains(text.text, abstentions)
        counts.update(empty=int(not found), abstained=int(silent), sentences=len(found))
        for number, words in enumerate(found):
            cut = text.truncated and number == len(found) - 1 and not is_complete(words)
            counts["cut"] += cut
            if not (cut or silent):
                places.append((len(rows), text))
                asked.append(Asked(entities[text.entity].name, words))
            rows.append({"text_id": text.id, "sentence": number, "words": words, "parsed": None})
    claims: list[Claim] = []
    for (place, text), found in zip(places, method(asked), strict=True):
        number = rows[place]["sentence"]
        rows[place]["parsed"] = found.parsed
        if found.parsed is not None:
            counts["parsed" if found.parsed else "unparsed"] += 1
        counts["fell_back"] += found.fell_back
        claims += [
            Claim(f"{text.id}#{number}.{order}", text.id, text.entity, number, words, fact)
            for order, (words, fact) in enumerate(found.claims)
        ]
    counts["claims"] = len(claims)
    return Claims(rows, claims, method.name, counts)


def abstains(text: str, phrases: Sequence[str] = ABSTENTIONS) -> bool:
    """Whether a text begins with one of these phrases; an empty one does not, it is counted by itself."""
    words = _plain(text)
    return any(words == phrase or words.startswith(f"{phrase} ") for phrase in map(_plain, phrases))


def self_contained(name: str, words: str) -> str:
    """`words`, with the entity named before them where no word of its name is among them that tells it: of three
    letters or more, and no word of grammar."""
    every = set(_WORD.findall(name.casefold()))
    named = {word for word in every & content_words(name) if len(word) > 2} or every
    return words if named & set(_WORD.findall(words.casefold())) else f"{name}: {words}"


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold().replace("'", "").replace("’", "")))
