"""The words of the built-in domains: relations, sentence templates and value pools of biographies, plots, leaflets."""

from __future__ import annotations

from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


YEARS = tuple(str(year) for year in range(1901, 1997, 2))
FIELDS = _words(
    "acoustics algebra anatomy archaeology astronomy banking botany ceramics chemistry dentistry economics farming "
    "fishing geology history journalism law linguistics logic mining music optics painting philosophy physics poetry "
    "politics sculpture shipping theology tailoring zoology"
)
GENRES = _words(
    "comedy tragedy thriller mystery romance western satire fable farce melodrama musical parody saga drama fantasy "
    "ballad"
)
TREASURES = _words(
    "map crown letter diary necklace key painting compass statue ring locket manuscript violin chalice medal telescope "
    "sword lantern photograph treaty mirror box clock recipe"
)
ENDINGS = _words(
    "wedding funeral trial duel reunion farewell confession rescue betrayal storm fire homecoming party coronation "
    "divorce kiss"
)
CONDITIONS = _words(
    "asthma migraine insomnia arthritis eczema gout anaemia bronchitis colitis cystitis dermatitis epilepsy fever "
    "gastritis glaucoma heartburn hepatitis hives influenza laryngitis malaria measles neuralgia pneumonia psoriasis "
    "rickets scurvy sinusitis tonsillitis vertigo"
)
DOSES = tuple(f"{amount} mg" for amount in (5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 150, 200, 250))
TIMES = (
    "at breakfast", "before breakfast", "after breakfast", "at noon", "before lunch", "after lunch", "before dinner",
    "at dinner", "after dinner", "at bedtime", "on waking", "at midnight",
)  # fmt: skip
EFFECTS = _words(
    "nausea dizziness fatigue headache thirst itching sweating trembling cramps coughing drowsiness hiccups "
    "restlessness fainting nightmares rash chills sneezing bloating palpitations swelling numbness yawning irritability"
)
FOODS = _words(
    "grapefruit liquorice alcohol coffee milk cheese garlic ginger spinach walnuts bananas honey vinegar chocolate "
    "mustard soya rhubarb celery olives shrimp lentils cabbage parsley cinnamon"
)


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
      kind: of the entities' names (`slick_jax.data.world_text.Names`).
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
            ("{s} was born in {birthplace}.", "{s} came from {birthplace}.", "{birthplace} is where {s} was born."),
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
            ("{s} won the {award}.", "{s} was honoured with the {award}.", "The {award} went to {s}."),
        ),
        Relation(
            "spouse",
            "person",
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
    "song",
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
            ("{s} is set in {setting}.", "{s} takes place in {setting}.", "{setting} is the setting of {s}."),
        ),
        Relation(
            "period",
            "year",
            ("{s} begins in {period}.", "{s} opens in the year {period}.", "The events of {s} start in {period}."),
        ),
        Relation(
            "hero",
            "person",
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
            "person",
            ("{s} has a villain named {villain}.", "The villain of {s} is {villain}.",
             "{villain} is the villain of {s}."),
        ),
        Relation(
            "climax",
            "landmark",
            ("{s} comes to a head at {climax}.", "{s} has its climax at {climax}.",
             "The climax of {s} takes place at {climax}."),
        ),
        Relation(
            "ending",
            "ending",
            ("{s} ends with a {ending}.", "{s} closes with a {ending}.", "A {ending} is the end of {s}."),
        ),
    ),
    (
        "{s} is a {genre} set in {setting}.",
        "{s} is a {genre} that takes place in {setting}.",
        "In {period}, {s} begins with {hero}.",
        "{s} begins in {period} and follows {hero}.",
        "{s} has a lost {treasure} and a villain named {villain}.",
        "The search for a {treasure} brings {villain} into {s}.",
        "{s} comes to a head at {climax} and ends with a {ending}.",
        "After {climax}, {s} closes with a {ending}.",
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
            ("{s} is made by {maker}.", "{s} is a product of {maker}.", "{maker} makes {s}."),
        ),
        Relation(
            "inventor",
            "person",
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
        "{inventor} invented {s}, which was approved in {approval}.",
    ),
    False,
    ("It",),
)  # fmt: skip

WORDINGS = (BIOGRAPHIES, PLOTS, LEAFLETS)
