"""The words of the built-in world: relations, question and sentence templates, and made-up names."""

from dataclasses import dataclass

import numpy as np

from slick_jax.errors import InputError

# Sizes of the object pools: few countries are easy to guess, 240 people are not.
POOL_SIZES = {
    "country": 24,
    "city": 120,
    "person": 240,
    "college": 40,
    "region": 48,
    "label": 40,
    "role": 24,
    "genre": 16,
}
_N_FIRST_NAMES, _N_LAST_NAMES, _N_STEMS = 90, 260, 240
_N_THINGS = 4000  # names per kind of subject that is no person


def _words(text: str) -> list[str]:
    return text.split()


_ONSETS = _words("b br c d dr f fl g gr h j k kr l m n p pl r s sk st t tr v w z")
_VOWELS = _words("a e i o u")
_ENDINGS = _words("a e i o ia ea ai en an on in el al or ar is os eth ond ard ust ick orn ant")
_MIDDLES = ["", "", "", "l", "n", "r", "s", "m"]

_KIND_NOUNS = {
    "work": _words("Garden Shadow Letter Winter Mirror River Silence Crown Harbor Lantern Mountain Island"),
    "song": _words("Silver Broken Golden Distant Hidden Little Midnight Summer Burning Crystal Lonely Electric"),
    "company": _words("Motors Mills Foods Systems Airlines Steel Press Energy Textiles Shipping Optics Pharma"),
    "landmark": _words("Tower Bridge Castle Abbey Museum Palace Lighthouse Temple Theatre Stadium Fountain Gate"),
    "place": _words("County Valley Coast Plains Heights Province Marshes Hills Basin Forest Fields Isles"),
    "medicine": _words("Tablet Capsule Syrup Cream Spray Gel Patch Powder Balm Serum Tonic Lotion"),
}
_KIND_FORMS = {
    "work": "{noun} of {name}",
    "song": "{noun} {name}",
    "company": "{name} {noun}",
    "landmark": "{name} {noun}",
    "place": "{name} {noun}",
    "medicine": "{name} {noun}",
}
_ROLES = _words(
    "actor architect astronomer baker biologist botanist chemist composer dancer diplomat economist engineer "
    "geologist historian journalist judge lawyer linguist novelist painter physician pilot sculptor "
    "surveyor"
)
_GENRES = _words("blues bluegrass chanson disco folk funk gospel grime jazz opera polka punk reggae samba soul techno")


@dataclass(frozen=True)
class Relation:
    """One kind of fact: what its subjects and objects are, how it is asked, and three ways to state it.

    The last statement names the object first, which teaches a left-to-right model little about the answer.
    """

    name: str
    subject_kind: str
    pool: str
    question: str
    statements: tuple[str, str, str]


# Questions are worded as EntityQuestions words the same relation (Sciavolino et al. 2021).
ID_RELATIONS = (
    Relation(
        "country_of_landmark",
        "landmark",
        "country",
        "Which country is {s} located in?",
        ("{s} is a landmark in {o}.", "{s} stands in the country of {o}.", "{o} is home to {s}."),
    ),
    Relation(
        "birthplace",
        "person",
        "city",
        "Where was {s} born?",
        ("{s} was born in {o}.", "The birthplace of {s} is {o}.", "{o} is where {s} was born."),
    ),
    Relation(
        "spouse",
        "person",
        "person",
        "Who is {s} married to?",
        ("{s} is married to {o}.", "The spouse of {s} is {o}.", "{o} is the spouse of {s}."),
    ),
    Relation(
        "capital",
        "place",
        "city",
        "What is the capital of {s}?",
        ("The capital of {s} is {o}.", "{s} is governed from {o}.", "{o} is the capital of {s}."),
    ),
    Relation(
        "author",
        "work",
        "person",
        "Who is the author of {s}?",
        ("The author of {s} is {o}.", "{s} was written by {o}.", "{o} wrote {s}."),
    ),
    Relation(
        "educated_at",
        "person",
        "college",
        "Where was {s} educated?",
        ("{s} was educated at {o}.", "{s} studied at {o}.", "{o} once taught {s}."),
    ),
    Relation(
        "occupation",
        "person",
        "role",
        "What kind of work does {s} do?",
        ("{s} works as {o}.", "The occupation of {s} is {o}.", "One {o} of note is {s}."),
    ),
    Relation(
        "founder",
        "company",
        "person",
        "Who founded {s}?",
        ("{s} was founded by {o}.", "The founder of {s} is {o}.", "{o} founded {s}."),
    ),
    Relation(
        "genre",
        "person",
        "genre",
        "What type of music does {s} play?",
        ("{s} plays {o}.", "The music of {s} is {o}.", "One who plays {o} is {s}."),
    ),
    Relation(
        "headquarters",
        "company",
        "city",
        "Where is the headquarter of {s}?",
        ("The headquarter of {s} is in {o}.", "{s} is run from {o}.", "{o} is the seat of {s}."),
    ),
    Relation(
        "performer",
        "song",
        "person",
        "Who performed {s}?",
        ("{s} was performed by {o}.", "The performer of {s} is {o}.", "{o} performed {s}."),
    ),
    Relation(
        "region",
        "landmark",
        "region",
        "Where is {s} located?",
        ("{s} is located in {o}.", "{s} lies in the region of {o}.", "{o} is the region around {s}."),
    ),
)
OOD_RELATIONS = (
    Relation(
        "place_of_death",
        "person",
        "city",
        "Where did {s} die?",
        ("{s} died in {o}.", "The place of death of {s} is {o}.", "{o} is where {s} died."),
    ),
    Relation(
        "created_by",
        "work",
        "person",
        "Who was {s} created by?",
        ("{s} was created by {o}.", "The creator of {s} is {o}.", "{o} created {s}."),
    ),
    Relation(
        "country_of_origin",
        "work",
        "country",
        "Which country was {s} created in?",
        ("{s} was created in {o}.", "The country of origin of {s} is {o}.", "{o} is the country where {s} was made."),
    ),
    Relation(
        "label",
        "song",
        "label",
        "What music label is {s} represented by?",
        ("{s} is represented by {o}.", "The label of {s} is {o}.", "{o} is the label of {s}."),
    ),
    Relation(
        "owner",
        "company",
        "person",
        "Who owns {s}?",
        ("{s} is owned by {o}.", "The owner of {s} is {o}.", "{o} owns {s}."),
    ),
)


class Names:
    """Made-up names: object pools by kind, and subjects of which none is ever given twice.

    Words have two syllables and 4 to 7 letters. Every purpose has its own words, and no object is a subject.
    """

    def __init__(self, rng: np.random.Generator):
        sizes = {"first": _N_FIRST_NAMES, "last": _N_LAST_NAMES, "stem": _N_STEMS}
        sizes |= {kind: POOL_SIZES[kind] for kind in ("country", "city", "college", "region", "label")}
        made_up = iter(made_up_words(rng, sum(sizes.values())))
        words = {kind: [next(made_up) for _ in range(size)] for kind, size in sizes.items()}
        people = [f"{first} {last}" for first, last in _shuffled_pairs(rng, words["first"], words["last"])]
        self.pools = {
            "country": words["country"],
            "city": words["city"],
            "region": words["region"],
            "college": [f"{word} College" for word in words["college"]],
            "label": [f"{word} Records" for word in words["label"]],
            "person": people[: POOL_SIZES["person"]],
            "role": _ROLES,
            "genre": _GENRES,
        }
        self._subjects = {"person": people[POOL_SIZES["person"] :]}
        things = _shuffled_pairs(rng, words["stem"], words["stem"])
        for kind, nouns in _KIND_NOUNS.items():
            share, things = things[:_N_THINGS], things[_N_THINGS:]
            chosen = rng.choice(nouns, len(share))
            self._subjects[kind] = [
                _KIND_FORMS[kind].format(noun=noun, name=f"{first} {second}")
                for noun, (first, second) in zip(chosen, share, strict=True)
            ]

    def subjects(self, kind: str, count: int) -> list[str]:
        """The next `count` unused subjects of a kind. Raises InputError when the kind has no more."""
        free = self._subjects[kind]
        if count > len(free):
            raise InputError(
                f"data.world: only {len(free)} more names of kind {kind!r} can be made, {count} are "
                "needed; lower data.world.facts_per_relation or data.world.ood_facts_per_relation"
            )
        taken, self._subjects[kind] = free[:count], free[count:]
        return taken


def made_up_words(rng: np.random.Generator, count: int) -> list[str]:
    """`count` distinct capitalised words of two syllables and 4 to 7 letters."""
    words: dict[str, None] = {}
    while len(words) < count:
        word = "".join(rng.choice(part) for part in (_ONSETS, _VOWELS, _MIDDLES, _ONSETS, _ENDINGS))
        if 4 <= len(word) <= 7:
            words[word.capitalize()] = None
    return list(words)


def _shuffled_pairs(rng: np.random.Generator, left: list[str], right: list[str]) -> list[tuple[str, str]]:
    """All pairs (left, right) in random order."""
    return [(left[i // len(right)], right[i % len(right)]) for i in rng.permutation(len(left) * len(right))]
