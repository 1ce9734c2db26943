"""Stage tables: whole, of one protocol, and the same bytes however often the work was interrupted."""

from collections import Counter

import pytest

from slick_jax.errors import InputError
from slick_jax.longform import store
from slick_jax.longform.records import CLAIMS, ENTITIES, TEXTS, Claim, Entity, Text

SETTINGS = {"seed": 0, "model": {"hash": "abc", "dtype": "float32"}}
TEXT = [Text(f"e{i}/gold/0", f"e{i}", "gold", 0, f"Text {i}, 'é'.", 4, i == 3) for i in range(10)]


def texts_stage(folder, **changes):
    return store.Stage(folder, "bio", "texts", TEXTS, SETTINGS | changes)


def make(part):
    return [store.text_row(text) for text in part], Counter(texts=len(part), cut=sum(t.truncated for t in part))


def test_records_go_into_tables_and_back(tmp_path):
    claims = [Claim("a/gold/0#0.0", "a/gold/0", "a", 0, "A was.", ("is", "A")), Claim("a/gold/0#2.1", "t", "a", 2, "B")]
    for name, schema, things, row, back in (
        ("texts", TEXTS, TEXT, store.text_row, store.text_of),
        ("claims", CLAIMS, claims, store.claim_row, store.claim_of),
    ):
        stage = store.Stage(tmp_path, "bio", name, schema, SETTINGS)
        assert not stage.done()
        stage.write([row(thing) for thing in things], {"n": len(things)})
        rows, counts = store.Stage(tmp_path, "bio", name, schema, SETTINGS).read()
        assert [back(one) for one in rows] == things and counts == {"n": len(things)}
        assert stage.path == tmp_path / "longform" / "bio" / f"{name}.parquet"


def test_entities_go_into_a_table(tmp_path):
    facts = (("born", "Oslo"), ("died", "Rome"))
    stage = store.Stage(tmp_path, "bio", "entities", ENTITIES, SETTINGS)
    stage.write([store.entity_row(Entity("bio/a", "bio", "A", "test", "Who?", "A was.", facts, 12))])
    (row,) = stage.read()[0]
    assert tuple(zip(row.pop("relations"), row.pop("values"), strict=True)) == facts
    assert list(row.values()) == ["bio/a", "bio", "A", "test", "Who?", "A was.", 12]


def test_support_becomes_a_label():
    claim = Claim("c", "t", "e", 0, "words")
    found = [store.claim_row(claim, support) for support in (None, 0.0, 0.49, 0.5, 1.0)]
    assert [row["supported"] for row in found] == [None, False, False, True, True]
    assert [row["support"] for row in found] == [None, 0.0, 0.49, 0.5, 1.0]


@pytest.mark.parametrize("calls_before_the_kill", [0, 1, 3])
def test_killed_and_resumed_gives_the_same_bytes(tmp_path, calls_before_the_kill):
    whole = texts_stage(tmp_path / "whole")
    rows, counts = whole.in_parts(TEXT, 3, make)
    assert rows == [store.text_row(text) for text in TEXT] and counts == {"texts": 10, "cut": 1}
    made = []

    def killed(part):
        if len(made) == calls_before_the_kill:
            raise KeyboardInterrupt
        made.append(part)
        return make(part)

    with pytest.raises(KeyboardInterrupt):
        texts_stage(tmp_path / "killed").in_parts(TEXT, 3, killed)
    again = texts_stage(tmp_path / "killed")
    assert not again.done() and again.finished(10, 3) == 3 * calls_before_the_kill
    shown, remade = [], []
    assert again.in_parts(TEXT, 3, lambda part: remade.append(part) or make(part), shown.append) == (rows, counts)
    assert len(remade) == 4 - calls_before_the_kill and shown == [3, 6, 9, 10]
    folder = again.path.parent
    assert again.path.read_bytes() == whole.path.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["texts.parquet"], "parts are gone"
    assert again.in_parts(TEXT, 3, None) == (rows, counts), "nothing is made again"
    assert again.finished(10, 3) == 10


def test_other_parts_than_those_begun_end_the_same(tmp_path):
    first = texts_stage(tmp_path / "whole")
    first.in_parts(TEXT, 3, make)

    def killed(part):
        if part[0] is not TEXT[0]:
            raise KeyboardInterrupt
        return make(part)

    with pytest.raises(KeyboardInterrupt):
        texts_stage(tmp_path / "other").in_parts(TEXT, 3, killed)
    second = texts_stage(tmp_path / "other")
    second.in_parts(TEXT, 4, make)
    assert second.path.read_bytes() == first.path.read_bytes()
    assert [path.name for path in second.path.parent.iterdir()] == ["texts.parquet"]


def test_parts_that_a_kill_left_beside_a_whole_table_go(tmp_path):
    texts_stage(tmp_path).in_parts(TEXT, 3, make)
    parts = texts_stage(tmp_path).path.with_suffix(".parts")
    parts.mkdir()
    (parts / "part-0000000-0000003.parquet").write_bytes(b"x")
    assert texts_stage(tmp_path).done() and not parts.exists()


def test_an_empty_table_is_a_table(tmp_path):
    assert texts_stage(tmp_path).in_parts([], 4, None) == ([], Counter())
    assert texts_stage(tmp_path).read() == ([], Counter())


@pytest.mark.parametrize("whole", [True, False])
def test_another_protocol_is_refused_and_told(tmp_path, whole):
    def killed(part):
        if part[0] is TEXT[3] and not whole:
            raise KeyboardInterrupt
        return make(part)

    try:
        texts_stage(tmp_path).in_parts(TEXT, 3, killed)
    except KeyboardInterrupt:
        assert not whole
    with pytest.raises(InputError, match="bio/texts of another protocol .*model.dtype was 'float32', is 'bfloat16'"):
        texts_stage(tmp_path, model={"hash": "abc", "dtype": "bfloat16"})
    with pytest.raises(InputError, match="seed was 0, is 1"):
        texts_stage(tmp_path, seed=1)
    texts_stage(tmp_path).in_parts(TEXT, 3, make)


def test_absent_and_damaged_tables_are_told(tmp_path):
    stage = texts_stage(tmp_path)
    with pytest.raises(InputError, match="texts.parquet: is not there; run the command of its stage"):
        stage.read()
    stage.write([])
    stage.path.write_bytes(stage.path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a readable Parquet file"):
        texts_stage(tmp_path)
