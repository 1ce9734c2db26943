"""What a model is given to write about an entity: examples and the prompt, or the prompt as fine-tuning has it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.errors import InputError
from slick_jax.longform.records import Entity


def fine_tuning_prompt(prompt: str) -> str:
    """Plain text before a fine-tuning target: an entity's prompt on a line of its own; the text follows directly."""
    return f"{prompt}\n"


def fine_tuned_prompts(entities: Sequence[Entity], style: Qa | Chat) -> dict[str, str]:
    """Prompts by entity id, as a fine-tuned model was trained on them."""
    return {entity.id: style.zero_shot(fine_tuning_prompt(entity.prompt)) for entity in entities}


def few_shot_prompts(
    entities: Sequence[Entity], exemplars: Sequence[Entity], style: Qa | Chat, stop: str
) -> dict[str, str]:
    """Prompts by entity id behind the prompts and references of `exemplars`, which do not hold what ends a text.

    In plain text each is ended by `stop`; in a chat the turn ends it. Exemplars get no prompt of their own: they would
    read their own reference.
    """
    shown = {exemplar.id for exemplar in exemplars}
    asked = [entity for entity in entities if entity.id not in shown]
    if isinstance(style, Chat):
        turns = [Example(one.id, one.prompt, (_within(one.reference, stop),)) for one in exemplars]
        return {entity.id: style.few_shot(turns, entity.prompt) for entity in asked}
    end = stop or "\n\n"
    shots = "".join(f"{fine_tuning_prompt(one.prompt)}{_within(one.reference, end)}{end}" for one in exemplars)
    return {entity.id: shots + fine_tuning_prompt(entity.prompt) for entity in asked}


def choose_exemplars(entities: Sequence[Entity], count: int, seed: int) -> list[Entity]:
    """`count` entities of split `probe`, in the order of a hash of seed and id."""
    pool = [entity for entity in entities if entity.split == "probe"]
    if len(pool) < count + 1:
        raise InputError(
            f"split probe has {len(pool)} entities, of which {count} would be examples in prompts, and others train the"
            " probe; give it more, or fewer examples"
        )
    return sorted(pool, key=lambda one: hashlib.sha256(f"{seed}\0{one.id}".encode()).digest())[:count]


def _within(reference: str, end: str) -> str:
    """A reference that does not hold what would end it: paragraphs run on."""
    return " ".join(part.strip() for part in reference.split(end) if part.strip()) if end else reference
