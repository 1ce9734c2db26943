"""Users' domains: what is read, how it is dealt to splits, and all that is wrong with a source told at once."""

import json
import unicodedata
from collections import Counter

import pytest

from slick_jax.errors import InputError
from slick_jax.longform.records import SPLITS
from slick_jax.longform.sources import SHARES, deal, read_entities

TEMPLATE = "Tell me about {name}."


def rows_file(tmp_path, rows, name="lives.jsonl"):
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def lives(count):
    return [{"entity": f"Person {i}", "prompt": f"Who is {i}?", "reference": f" {i} was born.\n"} for i in range(count)]


def test_rows_become_entities_in_disjoint_splits(tmp_path):
    path = rows_file(tmp_path, lives(50))
    found = read_entities(path, "bio", seed=3)
    assert [(e.id, e.name, e.prompt, e.reference) for e in found[:2]] == [
        (f"bio/Person {i}", f"Person {i}", f"Who is {i}?", f"{i} was born.") for i in range(2)
    ]
    assert Counter(e.split for e in found) == {"probe": 15, "train": 20, "dev": 5, "test": 10}
    assert found == read_entities(path, "bio", seed=3)
    other = read_entities(path, "bio", seed=4)
    assert [e.split for e in other] != [e.split for e in found]
    shuffled = rows_file(tmp_path, lives(50)[::-1], "back.jsonl")
    assert {e.id: e.split for e in read_entities(shuffled, "bio", seed=3)} == {e.id: e.split for e in found}


def test_rows_may_name_everything_themselves(tmp_path):
    rows = [row | {"id": i, "split": SPLITS[i % 4], "exposure": i} for i, row in enumerate(lives(8))]
    found = read_entities(rows_file(tmp_path, rows), "bio")
    assert [(e.id, e.split, e.exposure) for e in found] == [(f"bio/{i}", SPLITS[i % 4], i) for i in range(8)]
    with pytest.raises(InputError, match="no entity is in split dev, test"):
        read_entities(rows_file(tmp_path, rows[:2]), "bio")
    with pytest.raises(InputError, match="7 rows name a split and 1 do not"):
        read_entities(rows_file(tmp_path, [rows[0] | {"split": None}, *rows[1:]]), "bio")


def test_a_folder_of_texts(tmp_path):
    for name in ("Marie_Curie", "Niels Bohr", "Lise_Meitner", "Émilie_du_Châtelet"):
        (tmp_path / f"{name}.txt").write_text(f"{name} was a scientist.", encoding="utf-8")
    (tmp_path / ".hidden").write_text("x")
    found = {e.name: e for e in read_entities(str(tmp_path), "bio", template=TEMPLATE)}
    assert set(found) == {"Marie Curie", "Niels Bohr", "Lise Meitner", "Émilie du Châtelet"}
    assert found["Marie Curie"].prompt == "Tell me about Marie Curie."
    assert {e.split for e in found.values()} == set(SPLITS)
    with pytest.raises(InputError, match="needs a prompt template"):
        read_entities(str(tmp_path), "bio")
    with pytest.raises(InputError, match="write {name}"):
        read_entities(str(tmp_path), "bio", template="Tell me.")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "Latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "Empty.txt").write_text(" \n")
    with pytest.raises(InputError) as caught:
        read_entities(str(tmp_path), "bio", template=TEMPLATE)
    for told in ("notes.md: is no .txt", "Latin.txt: cannot be read as UTF-8", "Empty.txt: reference must be a text"):
        assert told in str(caught.value)


def test_all_bad_rows_are_told_together_with_their_lines(tmp_path):
    good = lives(6)
    rows = [
        good[0], "{not json", good[0] | {"prompt": "Again?"}, good[1] | {"reference": "  "}, good[2] | {"prompt": None},
        good[3] | {"reference": 7}, good[4] | {"split": "training"}, {"prompt": "?", "reference": "x."},
        good[5] | {"entity": "PERSON  0"}, good[5] | {"reference": "…"}, good[5] | {"exposure": -1},
    ]  # fmt: skip
    path = rows_file(tmp_path, rows)
    with pytest.raises(InputError) as caught:
        read_entities(path, "bio")
    heading, *lines = str(caught.value).splitlines()
    assert heading == f"{path}: 10 rows cannot be used:"
    told = {
        2: "is not JSON", 3: f"is already at {path}:1", 4: "reference must be a text that is not empty",
        5: "prompt is missing", 6: "found 7", 7: "split must be one of", 8: "entity is missing",
        9: f"entity 'PERSON 0' is already at {path}:1", 10: "holds no sentence", 11: "exposure must be a whole number",
    }  # fmt: skip
    assert len(lines) == len(told)
    for line, (number, words) in zip(lines, told.items(), strict=True):
        assert f"{path}:{number}: " in line and words in line


def test_an_entity_in_two_splits_is_refused(tmp_path):
    rows = [row | {"split": SPLITS[i % 4]} for i, row in enumerate(lives(4))]
    path = rows_file(tmp_path, [*rows, rows[0] | {"split": "test"}])
    with pytest.raises(InputError, match=f"is in split test here and in probe at {path}:1"):
        read_entities(path, "bio")


def test_accents_are_joined_however_they_are_written(tmp_path):
    apart = unicodedata.normalize("NFD", "José")
    rows = [{"entity": f"{apart} {i}", "prompt": f"Who is {i}?", "reference": f"{apart} was born."} for i in range(8)]
    found = read_entities(rows_file(tmp_path, rows), "bio")
    assert {entity.name for entity in found} == {f"José {i}" for i in range(8)}
    assert found[0].reference == "José was born."


def test_the_prompt_may_come_from_the_template(tmp_path):
    rows = [{"entity": row["entity"], "reference": row["reference"]} for row in lives(4)]
    found = read_entities(rows_file(tmp_path, rows), "bio", template=TEMPLATE)
    assert found[1].prompt == "Tell me about Person 1."


@pytest.mark.parametrize("count", [4, 5, 7, 10, 101, 1000])
def test_every_split_has_its_share(count):
    ids = [f"e{i}" for i in range(count)]
    sizes = Counter(deal(ids, SHARES, 0, "x").values())
    assert sum(sizes.values()) == count and set(sizes) == set(SPLITS)
    assert all(abs(sizes[name] - share * count) < (2 if count < 10 else 1) for name, share in SHARES.items())


def test_bad_shares_and_too_few_entities_are_refused():
    for shares in ({"probe": 1.0}, {**SHARES, "dev": 0.0}, {**SHARES, "dev": 0.2}, {**SHARES, "dev": float("nan")}):
        with pytest.raises(InputError, match="shares of the splits"):
            deal(["a"] * 9, shares, 0, "x")
    with pytest.raises(InputError, match="has 3 entities; at least 4"):
        deal(["a", "b", "c"], SHARES, 0, "x")
