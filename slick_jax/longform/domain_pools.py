"""What the built-in domains are made of: names of entities, and the values that their facts may have.

A name is two words: one of a few openers, and one of many closers, which few entities share. So the first word says
little about the second, a model that reads a new name has to copy it, and a vocabulary of moderate size holds every
word whole. Of values of several words either the others follow from one, or all combinations are values.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from slick_jax.data.world_text import made_up_words
from slick_jax.errors import InputError


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


N_CLOSERS = 160  # of each kind of entity
_N_FIRST_NAMES = 40
_OPENERS = {
    "plot": _words(
        "Silver Broken Golden Distant Hidden Little Midnight Burning Crystal Lonely Crimson Silent Secret Frozen "
        "Ancient Stolen Sleeping Restless Royal Savage Gentle Hollow Wicked Humble Faithful Foreign Wandering Scarlet "
        "Velvet Iron Stormy Sunken Noble Bitter Proud Shining Quiet Painted Fallen Endless"
    ),
    "medicine": _words(
        "Neo Pro Bio Ultra Max Vita Derma Cardio Pulmo Gastro Neuro Osteo Hemo Opti Audi Dento Algo Febri Tussi Somno "
        "Calmo Forti Rapi Lento Pura Nova Alpha Beta Delta Omega Prima Duo Trio Multi Omni Para Meta Iso Eco Hydro"
    ),
}
# Made-up words of each purpose: the values of a pool, or a part of each.
_MADE_UP = {"city": 60, "region": 30, "college": 30, "company": 30, "prize": 24, "spouse": 48, "hero": 48,
            "villain": 40, "inventor": 40, "substance": 24}  # fmt: skip

_ORDINARY = {
    "year": tuple(str(year) for year in range(1901, 1997, 2)),
    "work": tuple(map(" ".join, itertools.product(
        _words("Early Late Northern Southern Inner Outer"),
        _words("Garden Shadow Letter Winter Mirror River Silence Crown"),
    ))),
    "field": _words(
        "acoustics algebra anatomy archaeology astronomy banking botany ceramics chemistry dentistry economics farming "
        "fishing geology history journalism law linguistics logic mining music optics painting philosophy physics "
        "poetry politics sculpture shipping theology tailoring zoology"
    ),
    "genre": _words(
        "comedy tragedy thriller mystery romance western satire fable farce melodrama musical parody saga drama "
        "fantasy ballad"
    ),
    "treasure": _words(
        "map crown letter diary necklace key portrait compass statue ring locket manuscript violin chalice medal "
        "telescope sword lantern photograph treaty mirror box clock recipe"
    ),
    "place": _words(
        "tower bridge castle abbey museum palace lighthouse temple theatre stadium fountain gate harbour mill station "
        "cemetery market chapel hospital vineyard observatory library prison circus"
    ),
    "ending": _words(
        "wedding funeral trial duel reunion farewell confession rescue betrayal storm fire homecoming party coronation "
        "divorce kiss"
    ),
    "condition": _words(
        "asthma migraine insomnia arthritis eczema gout anaemia bronchitis colitis cystitis dermatitis epilepsy fever "
        "gastritis glaucoma heartburn hepatitis hives influenza laryngitis malaria measles neuralgia pneumonia "
        "psoriasis rickets scurvy sinusitis tonsillitis vertigo"
    ),
    "dose": tuple(f"{amount} mg" for amount in (5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 150, 200, 250)),
    "time": tuple(map(" ".join, itertools.product(
        ("at", "before", "after"), ("breakfast", "noon", "lunch", "dinner", "sunset", "midnight")
    ))),
    "effect": _words(
        "nausea dizziness fatigue headache thirst itching sweating trembling cramps coughing drowsiness hiccups "
        "restlessness fainting nightmares rash chills sneezing bloating palpitations swelling numbness yawning "
        "irritability"
    ),
    "food": _words(
        "grapefruit liquorice alcohol coffee milk cheese garlic ginger spinach walnuts bananas honey vinegar chocolate "
        "mustard soya rhubarb celery olives shrimp lentils cabbage parsley cinnamon"
    ),
}  # fmt: skip


class DomainNames:
    """Names of entities of each kind, of which none is given twice, and the pools of values.

    Made-up words are those of `slick_jax.data.world_text`; each serves one purpose.

    Attributes:
      pools: the values by the name of their pool.
    """

    def __init__(self, rng: np.random.Generator):
        sizes = {"first": _N_FIRST_NAMES, "person": N_CLOSERS, "plot": N_CLOSERS, "medicine": N_CLOSERS, **_MADE_UP}
        made_up = iter(made_up_words(rng, sum(sizes.values())))
        words = {purpose: tuple(itertools.islice(made_up, size)) for purpose, size in sizes.items()}
        self.pools: dict[str, tuple[str, ...]] = {
            **_ORDINARY,
            **{purpose: words[purpose] for purpose in ("city", "region", "spouse", "hero", "villain")},
            "college": tuple(f"{word} College" for word in words["college"]),
            "company": tuple(f"{word} Works" for word in words["company"]),
            "prize": tuple(f"{word} Prize" for word in words["prize"]),
            "inventor": tuple(f"Doctor {word}" for word in words["inventor"]),
            "substance": tuple(f"{word.lower()} extract" for word in words["substance"]),
        }
        openers = {"person": words["first"], **_OPENERS}
        self._names = {kind: list(_shuffled(rng, openers[kind], words[kind])) for kind in openers}

    def take(self, kind: str, count: int) -> list[str]:
        """The next `count` names of entities of a kind. Raises InputError when the kind has no more."""
        free = self._names[kind]
        if count > len(free):
            raise InputError(
                f"longform.domains: only {len(free)} more names of kind {kind!r} can be made, {count} are needed; "
                "lower longform.domains.probe, train, dev or test"
            )
        taken, self._names[kind] = free[:count], free[count:]
        return taken


def _shuffled(rng: np.random.Generator, openers: tuple[str, ...], closers: tuple[str, ...]) -> Iterator[str]:
    """All names of an opener and a closer, in random order."""
    for i in rng.permutation(len(openers) * len(closers)):
        yield f"{openers[i // len(closers)]} {closers[i % len(closers)]}"
