"""Rows of questions, mixtures and entities: taken are those that Python's json finds sound, as it reads them."""

import gzip
import io
import json
import unicodedata
import zlib

import hypothesis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from slick_jax.categories import CATEGORIES
from slick_jax.data.examples import read_rows
from slick_jax.longform.sources import read_entities
from slick_jax.training.mixture_file import read_mixture
from tests.fuzz.fuzzing import attempt, changed, damaged, inputs, json_values, texts, written

QUESTION = {"id": "a", "question": "Who wrote Dune?", "answer": "Frank Herbert", "relation": "r", "subject": "Dune"}
SEVERAL = {"question": " Wo liegt “Åbo”? ", "answers": ["Turku", " Åbo "]}
TRAINED = {"id": 7, "prompt": "Q: a?\nA:", "completion": " b, surely.", "answer": "b", "ending": ", surely.",
           "category": "Unknown", "relation": "r", "times": 2}  # fmt: skip
REPLAYED = {"completion": "Some text.\nMore of it.", "role": "replay"}
ENTITY = {"entity": "Ada  Lovelace", "prompt": "Who was she?", "reference": "Ada wrote notes. They were read.",
          "id": "ada", "exposure": 3}  # fmt: skip

ENTITIES = (ENTITY, {**ENTITY, "entity": "b", "id": None}, *({"entity": c, "reference": f"{c} did."} for c in "CDE"))


@st.composite
def files(draw, *sound, least=1):
    """(ending, bytes) of a JSON lines file of sound and changed rows, perhaps packed, perhaps damaged."""
    chosen = st.lists(st.sampled_from(sound), min_size=least, max_size=max(3, least), unique_by=id)
    rows = [draw(st.just(row) | changed(row)) for row in draw(chosen)]
    whole = draw(st.integers(0, 3)) == 0
    lines = [json.dumps(row).encode() if whole else draw(written(row)) for row in rows]
    content = draw(st.sampled_from((b"\n", b"\n", b"\r\n", b"\n\n", b"\r", b"\x85"))).join(lines)
    if draw(st.integers(0, 9)) == 0:
        content = content.decode("utf-8", "replace").encode(draw(st.sampled_from(("utf-16", "utf-16-le", "utf-8-sig"))))
    if draw(st.integers(0, 4)):
        return ".jsonl", content
    packed = gzip.compress(content)
    return ".jsonl.gz", draw(st.just(packed) | damaged(packed))


def _objects(ending, content):
    """The objects of the lines as Python reads them; None where one is no UTF-8 JSON object with every key once."""
    try:
        content = _unpacked(ending, content)
    except (OSError, EOFError, zlib.error):
        return None
    found = []
    for line in content.split(b"\n"):
        if line.strip():
            try:
                found.append(json.loads(line.decode("utf-8-sig"), object_pairs_hook=_each_once))
                if _levels(found[-1]) > 100:
                    return None
            except (ValueError, RecursionError):
                return None
    return None if any(not isinstance(row, dict) for row in found) else found


def _levels(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_levels, inner), default=0)


def _unpacked(ending, content):
    if not ending.endswith(".gz"):
        return content
    with gzip.open(io.BytesIO(content)) as file:
        return file.read()


def _each_once(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _text(value, lines=True):
    """Whether a value is a text that can be kept and is not empty."""
    if not isinstance(value, str) or not value.strip() or (not lines and "\n" in value.strip()):
        return False
    return not any(unicodedata.category(one) == "Cs" for one in value)


def _id(value):
    return value is None or (type(value) is int) or _text(value)


def _questions(rows, stem):
    """(id, question, answers, relation, subject) of sound rows, else None."""
    made = []
    for place, row in rows:
        if row.get("answer") is not None and row.get("answers") is not None:
            return None
        answers = row["answers"] if row.get("answers") is not None else [row.get("answer")]
        named = [row[name] for name in ("relation", "subject") if row.get(name) is not None]
        sound = isinstance(answers, list) and answers and all(_text(one, lines=False) for one in answers)
        if not sound or not all(map(_text, [row.get("question"), *named])) or not _id(row.get("id")):
            return None
        name = f"{stem}.{place}" if row.get("id") is None else str(row["id"])
        subject = row["subject"].strip() if row.get("subject") is not None else None
        relation = row["relation"].strip() if row.get("relation") is not None else "all"
        made.append((name, row["question"].strip(), tuple(one.strip() for one in answers), relation, subject))
    return made if made and len({one[0] for one in made}) == len(made) else None


def _numbered(ending, content):
    """(number of the line, object) of a file, or None."""
    rows = _objects(ending, content)
    if rows is None:
        return None
    content = _unpacked(ending, content)
    return list(zip([n for n, line in enumerate(content.split(b"\n")) if line.strip()], rows, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


def _put(folder, ending, content):
    path = folder / f"rows{ending}"
    path.write_bytes(content)
    return path


@inputs(300)
@given(files(QUESTION, SEVERAL))
def test_question_rows(folder, file):
    taken, found = attempt(read_rows, str(_put(folder, *file)), "train")
    rows = _numbered(*file)
    meant = None if rows is None else _questions(rows, "rows")
    assert taken == (meant is not None), found
    if taken:
        assert [(one.id, one.question, one.answers, one.relation, one.subject) for one in found] == meant


@inputs(200)
@given(files(TRAINED, REPLAYED))
def test_mixture_rows(folder, file):
    taken, found = attempt(read_mixture, _put(folder, *file))
    rows = _objects(*file)
    if not taken:
        return
    assert rows is not None and len(found) == len(rows)
    for row, made in zip(rows, found, strict=True):
        assert made.completion == row["completion"] and _text(made.completion)
        assert made.prompt == (row.get("prompt") or "")
        assert made.times == (1 if row.get("times") is None else row["times"]) and type(made.times) is int
        assert _id(row.get("id")) and made.category in ("", *CATEGORIES)
        assert row.get("id") is None or made.id == str(row["id"])
        for name in ("role", "ending", "category", "relation"):
            assert row.get(name) is None or isinstance(row[name], str), name
        json.dumps(made.content, ensure_ascii=False).encode()
        if made.ending:
            assert made.completion.strip() == (made.answer + made.ending).strip()


@inputs(200)
@given(files(*ENTITIES, least=4))
def test_entity_rows(folder, file):
    path = _put(folder, ".jsonl" if file[0] == ".jsonl" else ".jsonl.gz", file[1])
    taken, found = attempt(read_entities, str(path), "own", template="About {name}:")
    rows = _objects(*file)
    if not taken:
        return
    assert rows is not None and len(found) == len(rows) >= 4
    for row, made in zip(rows, found, strict=True):
        name, reference = (unicodedata.normalize("NFC", row[field]) for field in ("entity", "reference"))
        assert made.name == " ".join(name.split()) and made.reference == reference.strip()
        assert made.exposure == row.get("exposure") and (made.exposure is None or 0 <= made.exposure < 2**31)
        assert all(map(_text, (made.id, made.name, made.prompt, made.reference)))
        assert type(made.exposure) in (int, type(None))


KINDS = ("plain", "plain", "large", "binary", "dictionary", "view")


@st.composite
def columns(draw):
    """A table of question rows with columns of some type, and perhaps a column twice."""
    rows = draw(st.lists(st.sampled_from((QUESTION, SEVERAL)), min_size=1, max_size=3))
    names = [name for name in ("id", "question", "answer", "answers", "relation", "subject") if draw(st.integers(0, 5))]
    names += draw(st.sampled_from(([], ["question"], ["else"])))
    arrays = []
    for name in names:
        values = [draw(st.just(row.get(name)) | json_values) if draw(st.integers(0, 9)) == 0 else row.get(name)
                  for row in rows]  # fmt: skip
        if name == "id" and draw(st.booleans()):
            values = [f"row {place}" for place in range(len(rows))]
        arrays.append(_array(values, draw(st.sampled_from(KINDS))))
    return pa.Table.from_arrays(arrays, names=names)


def _array(values, kind):
    try:
        made = pa.array(values)
    except Exception:
        made = pa.array([str(value).encode("utf-8", "surrogatepass") for value in values], pa.binary())
    with_text = pa.types.is_string(made.type) or pa.types.is_binary(made.type)
    if kind == "large" and with_text:
        return made.cast(pa.large_binary()).view(pa.large_string())
    if kind == "binary" and with_text:
        return made.cast(pa.binary())
    if kind == "view" and pa.types.is_binary(made.type):
        return made.view(pa.string())  # bytes that are no UTF-8 among them
    return made.dictionary_encode() if kind == "dictionary" and with_text else made


@inputs(120, 0.6)
@given(columns(), st.data())
def test_parquet_rows(folder, table, data):
    path = folder / "rows.parquet"
    try:
        parquet.write_table(table, path)
    except pa.ArrowException:
        hypothesis.reject()
    whole = data.draw(st.booleans())
    if not whole:
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    taken, found = attempt(read_rows, str(path), "train")
    if whole:
        try:
            twice = len(set(table.column_names)) < len(table.column_names)
            meant = None if twice else _questions(list(enumerate(table.to_pylist())), "rows")
        except UnicodeDecodeError:
            meant = None
        assert taken == (meant is not None), found
        if taken:
            assert [(one.id, one.question, one.answers, one.relation, one.subject) for one in found] == meant


_NOTES = st.sampled_from((*[b"A. B."] * 20, b"\xff", b"\xef\xbb\xbfOne.", "Zwei.".encode("utf-16")))
_ENTRIES = st.tuples(
    st.integers(0, 19).flatmap(lambda odd: st.sampled_from("abcdefghijkl") if odd else texts),
    st.integers(0, 19).flatmap(lambda odd: _NOTES if odd else st.text(max_size=9).map(str.encode)),
    st.sampled_from((*[".txt"] * 30, ".md", "")),
)


@inputs(60, 0.3)
@given(st.lists(_ENTRIES, min_size=5, max_size=9))
def test_folders_of_texts(tmp_path_factory, entries):
    place = tmp_path_factory.mktemp("texts")
    for name, content, ending in entries:
        try:
            (place / f"{name}{ending}").write_bytes(content)
        except (OSError, ValueError):
            continue
    taken, found = attempt(read_entities, str(place), "own", template="About {name}:")
    if taken:
        for made in found:
            file = next(one for one in place.iterdir() if " ".join(
                unicodedata.normalize("NFC", one.stem.replace("_", " ")).split()) == made.name)  # fmt: skip
            assert made.reference == unicodedata.normalize("NFC", file.read_text("utf-8-sig")).strip()
