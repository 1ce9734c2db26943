"""A domain's sentences: written from facts, and parsed back into the facts they state, true or false."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from slick_jax.longform.domain_text import Wording

Fact = tuple[str, str]  # relation, value

SHARE_JOINT = 0.5  # places where two facts can share a sentence and do
SHARE_FULL_NAME, SHARE_SURNAME = 0.06, 0.06  # mentions after the first sentence; the others are pronouns, where allowed
_MENTION = "\0"  # stands for the entity in a sentence that is parsed
_SLOT = re.compile(r"{(\w+)}")


class Grammar:
    """The templates of a `Wording` over pools of values, in both directions."""

    def __init__(self, wording: Wording, pools: Mapping[str, Sequence[str]]):
        """`pools`: the values of every relation."""
        self.wording = wording
        self._templates: dict[tuple[str, ...], list[str]] = {}  # by the relations they state, in order of a text
        order = [relation.name for relation in wording.relations]
        for template in (*(form for relation in wording.relations for form in relation.templates), *wording.joint):
            stated = tuple(sorted(_relations(template), key=order.index))
            self._templates.setdefault(stated, []).append(template)
        values = {name: "|".join(map(re.escape, sorted(pool, key=len, reverse=True))) for name, pool in pools.items()}
        self._patterns = [_pattern(form, values) for forms in self._templates.values() for form in forms]

    @property
    def templates(self) -> list[str]:
        """Every template, those of one relation first."""
        return [template for forms in self._templates.values() for template in forms]

    def write(self, name: str, facts: Sequence[Fact], rng: np.random.Generator, mentioned: bool = False) -> str:
        """A text of all `facts`, in the order given; neighbours that can share a sentence sometimes do. With
        `mentioned`, a shorter mention may stand for the name from the first sentence on."""
        sentences, start = [], 0
        while start < len(facts):
            stated = tuple(relation for relation, _ in facts[start : start + 2])
            size = 2 if len(stated) == 2 and stated in self._templates and rng.random() < SHARE_JOINT else 1
            sentences.append(self.sentence(name, facts[start : start + size], rng, mentioned or bool(sentences)))
            start += size
        return " ".join(sentences)

    def sentence(self, name: str, facts: Sequence[Fact], rng: np.random.Generator, mentioned: bool = False) -> str:
        """One sentence that states one fact or two; with `mentioned`, a shorter mention may stand for the name."""
        forms = self._templates[tuple(relation for relation, _ in facts)]
        template = forms[int(rng.integers(len(forms)))]
        who = self._mention(name, template, float(rng.random())) if mentioned else name
        return template.format(s=who, **dict(facts))

    def claim(self, name: str, fact: Fact) -> str:
        """Words for one fact that need no context."""
        return self._templates[fact[:1]][0].format(s=name, **dict([fact]))

    def parse(self, sentence: str, name: str) -> list[Fact] | None:
        """The facts that a sentence states about `name`, in the order of the sentence; None where no template fits.

        A value may be wrong, but must be of the relation's pool. Blanks may stand before punctuation.
        """
        sentence = re.sub(r"\s+(?=[.,])", "", " ".join(sentence.split()))
        for skeleton in self._skeletons(sentence, name):
            for pattern in self._patterns:
                if found := pattern.fullmatch(skeleton):
                    return [(relation, value) for relation, value in found.groupdict().items()]
        return None

    def _mention(self, name: str, template: str, draw: float) -> str:
        """The whole name, the surname or a pronoun: an even `draw` in [0, 1) chooses among those that fit."""
        if draw >= SHARE_FULL_NAME and self.wording.surname and draw < SHARE_FULL_NAME + SHARE_SURNAME:
            return name.split()[-1]
        if draw >= SHARE_FULL_NAME and template.startswith("{s}"):
            return _pronoun(self.wording, name)
        return name

    def _skeletons(self, sentence: str, name: str) -> Iterator[str]:
        """The sentence with the entity's mention marked, for every place that may be one, whole names first."""
        mentions = [name, name.split()[-1]] if self.wording.surname else [name]
        for mention in mentions:
            for found in re.finditer(re.escape(mention), sentence):
                yield sentence[: found.start()] + _MENTION + sentence[found.end() :]
        for pronoun in self.wording.pronouns:
            if sentence.startswith(f"{pronoun} "):
                yield _MENTION + sentence[len(pronoun) :]


def _relations(template: str) -> list[str]:
    return [slot for slot in _SLOT.findall(template) if slot != "s"]


def _pattern(template: str, values: Mapping[str, str]) -> re.Pattern[str]:
    """What sentences of a template look like, with the entity's mention marked; a group for every relation."""
    parts = _SLOT.split(template)  # words and slots by turns
    fixed = [re.escape(part) for part in parts[::2]]
    slots = [_MENTION if slot == "s" else f"(?P<{slot}>{values[slot]})" for slot in parts[1::2]]
    return re.compile("".join(word + slot for word, slot in zip(fixed, [*slots, ""], strict=True)))


def _pronoun(wording: Wording, name: str) -> str:
    return wording.pronouns[name.split()[0][-1] in "aei" and len(wording.pronouns) > 1]
