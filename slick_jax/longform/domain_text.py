"""The words of the built-in domains: relations and sentence templates of biographies, plots and leaflets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """One kind of fact of a domain; `{s}` stands for a mention of the entity, `{<relation>}` for the value.

    `templates`: the first one also words claims.
    """

    name: str
    pool: str
    templates: tuple[str, ...]


@dataclass(frozen=True)
class Wording:
    """How texts of a domain are written.

    Attributes:
      kind: of the entities' names (`slick_jax.longform.domain_pools`).
      prompt: what asks for a text.
      relations: in the order of a text.
      joint: templates of sentences with two facts, of relations that follow each other.
      surname: whether the last word of a name alone may stand for it.
      pronouns: what may stand for the name at the start of a sentence; of two, the name's first word decides.
    """

    name: str
    kind: str
    prompt: str
    relations: tuple[Relation, ...]
    joint: tuple[str, ...]
    surname: bool
    pronouns: tuple[str, ...]


BIOGRAPHIES = Wording(
    "biographies",
    "person",
    "Write a biography of {s}.",
    (
        Relation(
            "birthplace",
            "city",
            ("{s} was born in {birthplace}.", "{s} came from {birthplace}.", "The birthplace of {s} was {birthplace}."),
        ),
        Relation(
            "birth_year",
            "year",
            ("{s} was born in the year {birth_year}.", "The birth year of {s} is {birth_year}.",
             "{s} was a child of {birth_year}."),
        ),
        Relation(
            "education",
            "college",
            ("{s} studied at {education}.", "{s} was educated at {education}.", "{s} had a degree from {education}."),
        ),
        Relation(
            "field",
            "field",
            ("{s} worked in {field}.", "{s} made a career in {field}.", "The field of {s} was {field}."),
        ),
        Relation(
            "employer",
            "company",
            ("{s} was employed by {employer}.", "{s} spent many years with {employer}.",
             "The employer of {s} was {employer}."),
        ),
        Relation(
            "notable_work",
            "work",
            ("{s} wrote {notable_work}.", "{s} is best known for {notable_work}.",
             "The main work of {s} is {notable_work}."),
        ),
        Relation(
            "award",
            "prize",
            ("{s} won the {award}.", "{s} was honoured with the {award}.", "{s} was given the {award}."),
        ),
        Relation(
            "spouse",
            "spouse",
            ("{s} married {spouse}.", "The spouse of {s} was {spouse}.", "{s} shared a life with {spouse}."),
        ),
        Relation(
            "residence",
            "region",
            ("{s} lived in {residence}.", "{s} made a home in {residence}.", "The home of {s} was in {residence}."),
        ),
    ),
    (
        "{s} was born in {birthplace} in {birth_year}.",
        "{s} came from {birthplace} and was a child of {birth_year}.",
        "{s} studied at {education} and worked in {field}.",
        "After years at {education}, {s} turned to {field}.",
        "{s} wrote {notable_work} and won the {award}.",
        "With {notable_work}, {s} won the {award}.",
        "{s} married {spouse} and lived in {residence}.",
        "Together with {spouse}, {s} lived in {residence}.",
    ),
    True,
    ("He", "She"),
)  # fmt: skip

PLOTS = Wording(
    "plots",
    "plot",
    "Tell the plot of {s}.",
    (
        Relation(
            "genre",
            "genre",
            ("{s} is a {genre}.", "{s} is told as a {genre}.", "The genre of {s} is {genre}."),
        ),
        Relation(
            "setting",
            "city",
            ("{s} is set in {setting}.", "{s} takes place in {setting}.", "The setting of {s} is {setting}."),
        ),
        Relation(
            "period",
            "year",
            ("{s} begins in {period}.", "{s} opens in the year {period}.", "The events of {s} start in {period}."),
        ),
        Relation(
            "hero",
            "hero",
            ("{s} follows {hero}.", "{s} tells of {hero}.", "The hero of {s} is {hero}."),
        ),
        Relation(
            "trade",
            "field",
            ("{s} explores the world of {trade}.", "{s} deals with {trade}.", "The hero of {s} lives by {trade}."),
        ),
        Relation(
            "treasure",
            "treasure",
            ("{s} turns on a lost {treasure}.", "{s} tells of the search for a {treasure}.",
             "A lost {treasure} drives {s}."),
        ),
        Relation(
            "villain",
            "villain",
            ("{s} has a villain named {villain}.", "The villain of {s} is {villain}.",
             "{s} makes {villain} the villain."),
        ),
        Relation(
            "climax",
            "place",
            ("{s} comes to a head at the {climax}.", "{s} has its climax at the {climax}.",
             "The climax of {s} is at the {climax}."),
        ),
        Relation(
            "ending",
            "ending",
            ("{s} ends with a {ending}.", "{s} closes with a {ending}.", "The end of {s} is a {ending}."),
        ),
    ),
    (
        "{s} is a {genre} set in {setting}.",
        "{s} is a {genre} that takes place in {setting}.",
        "In {period}, {s} begins with {hero}.",
        "{s} begins in {period} and follows {hero}.",
        "{s} has a lost {treasure} and a villain named {villain}.",
        "The search for a {treasure} brings {villain} into {s}.",
        "{s} comes to a head at the {climax} and ends with a {ending}.",
        "From the {climax}, {s} moves on to a {ending}.",
    ),
    False,
    ("It",),
)  # fmt: skip

LEAFLETS = Wording(
    "leaflets",
    "medicine",
    "Write a leaflet about {s}.",
    (
        Relation(
            "substance",
            "substance",
            ("{s} contains {substance}.", "{s} is based on {substance}.", "The active part of {s} is {substance}."),
        ),
        Relation(
            "condition",
            "condition",
            ("{s} treats {condition}.", "{s} is given against {condition}.", "Doctors give {s} against {condition}."),
        ),
        Relation(
            "dose",
            "dose",
            ("{s} is taken in doses of {dose}.", "{s} has a daily dose of {dose}.", "The dose of {s} is {dose}."),
        ),
        Relation(
            "time",
            "time",
            ("{s} is taken {time}.", "{s} works best {time}.", "Patients take {s} {time}."),
        ),
        Relation(
            "side_effect",
            "effect",
            ("{s} can cause {side_effect}.", "{s} may lead to {side_effect}.",
             "A side effect of {s} is {side_effect}."),
        ),
        Relation(
            "interaction",
            "food",
            ("{s} does not go with {interaction}.", "{s} must not be mixed with {interaction}.",
             "Patients on {s} avoid {interaction}."),
        ),
        Relation(
            "maker",
            "company",
            ("{s} is made by {maker}.", "{s} is a product of {maker}.", "The maker of {s} is {maker}."),
        ),
        Relation(
            "inventor",
            "inventor",
            ("{s} was invented by {inventor}.", "{s} is the work of {inventor}.", "The inventor of {s} is {inventor}."),
        ),
        Relation(
            "approval",
            "year",
            ("{s} was approved in {approval}.", "{s} has been sold since {approval}.",
             "The approval of {s} came in {approval}."),
        ),
    ),
    (
        "{s} contains {substance} and treats {condition}.",
        "With {substance}, {s} helps against {condition}.",
        "{s} is taken {time} in doses of {dose}.",
        "Patients take {dose} of {s} {time}.",
        "{s} can cause {side_effect} and does not go with {interaction}.",
        "With {interaction}, {s} may lead to {side_effect}.",
        "{s} was invented by {inventor} and approved in {approval}.",
        "The work of {inventor}, {s} was approved in {approval}.",
    ),
    False,
    ("It",),
)  # fmt: skip

WORDINGS = (BIOGRAPHIES, PLOTS, LEAFLETS)
