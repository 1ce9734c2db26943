"""Claims and labels are bound to what their entities are: a table of other splits, names or references is refused."""

import dataclasses

import pytest

from slick_jax.config import Config
from slick_jax.errors import InputError
from slick_jax.longform.judge import Judge
from slick_jax.longform.records import Entity, Text
from slick_jax.settings.longform import ClaimsConfig, LongformConfig, OwnConfig

ENTITIES = {
    name: Entity(name, "towns", name, "train", f"Tell of {name}.", f"{name} has 3 mills.") for name in ("Ao", "Bo")
}
TEXTS = [Text(f"{name}/generated/1", name, "generated", 1, f"{name} has 3 mills. It burnt.", 9) for name in ENTITIES]


def judged(run_dir, **changes):
    claims = ClaimsConfig(verifier="tests.longform.judges:contained")
    longform = LongformConfig(own=OwnConfig(("towns.jsonl",)), claims=claims)
    entities = ENTITIES | {"Bo": dataclasses.replace(ENTITIES["Bo"], **changes)}
    judge = Judge(Config(run_dir=str(run_dir), longform=longform), "towns", entities, None, None, None)
    return judge("generated", TEXTS, "texts-1")


def test_tables_of_the_same_entities_are_read(tmp_path, monkeypatch):
    made = judged(tmp_path)
    assert [row["supported"] for row in made.labels] == [True, False] * 2
    monkeypatch.setattr(Judge, "_method", None)
    assert judged(tmp_path) == made == judged(tmp_path, exposure=7)


@pytest.mark.parametrize(
    "changes", [{"split": "test"}, {"reference": "Bo burnt."}, {"name": "Bow"}, {"facts": (("mills", "3"),)}]
)
def test_other_splits_references_names_and_facts_are_refused(tmp_path, changes):
    judged(tmp_path)
    with pytest.raises(InputError, match="towns/generated/sentences of another protocol .entities was"):
        judged(tmp_path, **changes)


def test_another_protocol_of_entities_is_another_of_all_that_is_made_of_claims(tmp_path):
    found = [judged(tmp_path / split, split=split).protocol for split in ("train", "test")]
    assert found[0] != found[1]
