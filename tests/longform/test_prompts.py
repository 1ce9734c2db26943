"""Prompts of the long-form study."""

import pytest

from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.errors import InputError
from slick_jax.longform.prompts import choose_exemplars, few_shot_prompts, fine_tuned_prompts
from slick_jax.longform.records import Entity
from tests.longform.tiny import model

PEOPLE = [
    Entity(f"p{i}", "bio", f"P{i}", "probe" if i < 4 else "test", f"Who is P{i}?", f"P{i} sang.\n\nP{i} died.")
    for i in range(6)
]


def test_examples_end_as_texts_do_and_get_no_prompt():
    found = few_shot_prompts(PEOPLE, PEOPLE[:2], Qa(model()[2]), "\n\n")
    assert list(found) == ["p2", "p3", "p4", "p5"]
    shots = "Who is P0?\nP0 sang. P0 died.\n\nWho is P1?\nP1 sang. P1 died.\n\n"
    assert found["p4"] == f"{shots}Who is P4?\n"


def test_examples_of_a_chat_hold_no_stop_and_whole_paragraphs_without_one():
    class Turns(Chat):
        def __init__(self):
            pass

        def few_shot(self, exemplars, question):
            return "|".join([*(f"{row.question} {row.answers[0]}" for row in exemplars), question])

    shown = [few_shot_prompts(PEOPLE[5:], PEOPLE[:1], Turns(), stop)["p5"] for stop in ("\n\n", "")]
    assert shown == ["Who is P0? P0 sang. P0 died.|Who is P5?", "Who is P0? P0 sang.\n\nP0 died.|Who is P5?"]


def test_without_a_stop_a_blank_line_stands_between():
    (prompt,) = few_shot_prompts(PEOPLE[5:], PEOPLE[:1], Qa(model()[2]), "").values()
    assert prompt == "Who is P0?\nP0 sang. P0 died.\n\nWho is P5?\n"


def test_a_fine_tuned_model_is_asked_alone():
    assert fine_tuned_prompts(PEOPLE[4:5], Qa(model()[2])) == {"p4": "Who is P4?\n"}


def test_exemplars_are_of_the_probe_split_and_hang_on_the_seed():
    found = choose_exemplars(PEOPLE, 3, 0)
    assert len(found) == 3 and all(entity.split == "probe" for entity in found)
    assert found == choose_exemplars(PEOPLE[::-1], 3, 0)
    assert len({tuple(e.id for e in choose_exemplars(PEOPLE, 3, seed)) for seed in range(9)}) > 3
    with pytest.raises(InputError, match="split probe has 4 entities"):
        choose_exemplars(PEOPLE, 4, 0)
