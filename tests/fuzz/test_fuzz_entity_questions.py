"""EntityQuestions as zip, folder or lines: damaged, hostile or odd archives are refused, or give the rows they hold."""

import io
import json
import stat
import struct
import tarfile
import warnings
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slick_jax.data.entity_questions.relations import TEMPLATES
from slick_jax.data.entity_questions.sources import MAX_FILE_BYTES, read_source
from tests.fuzz.fuzzing import attempt, changed, damaged, inputs, texts, written

SPLITS = ("train", "dev", "test")
ROWS = {
    (split, relation): [{"question": f"{before}{split} Ö{place}{after}", "answers": [f"ä {place}"]} for place in (0, 1)]
    for split in SPLITS for relation, (before, after) in TEMPLATES.items()
}  # fmt: skip
NAMES = {f"dataset/{split}/{relation}.{split}.json": rows for (split, relation), rows in ROWS.items()}
HOSTILE = (
    "../../evil.json", "/tmp/evil.json", "dataset/train/../../../P17.train.json", "dataset\\train\\P17.train.json",
    "C:\\P17.train.json", "dataset/train/P17.train.json/", "P17.train.json\0.txt", "dataset/train/P999.train.json",
)  # fmt: skip
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def _zip(members, method=zipfile.ZIP_DEFLATED):
    sink = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(sink, "w", method) as archive:
        warnings.simplefilter("ignore")  # of a name that comes twice
        for name, content in members:
            archive.writestr(name, content)
    return sink.getvalue()


SOUND = _zip((name, json.dumps(rows)) for name, rows in NAMES.items())


@st.composite
def archives(draw):
    """(bytes, whether every published row must come out of it)."""
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return draw(damaged(SOUND)), False
    members = [(name, json.dumps(rows)) for name, rows in NAMES.items()]
    extra = draw(st.lists(st.tuples(st.sampled_from(HOSTILE) | texts, st.binary(max_size=9)), max_size=2))
    extra = [(name.encode("utf-8", "replace").decode(), content) for name, content in extra if name]
    if kind == 1:
        return _zip([*members, *extra], draw(st.sampled_from(METHODS))), False
    place = draw(st.integers(0, len(members) - 1))
    name = members[place][0]
    if kind == 2:
        members[place] = (name, draw(changed(NAMES[name]).flatmap(written)))
    elif kind == 3:
        del members[place]
    else:
        members.append((draw(st.sampled_from((name, name.rpartition("/")[2]))), json.dumps(NAMES[name])))
    return _zip(members), False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("eq")
    (place / "inner").mkdir()
    return place / "inner"


def _texts(source):
    return {(split, relation): [(row.question, row.answers) for row in rows]
            for split, found in source.items() for relation, rows in found.items()}  # fmt: skip


PUBLISHED = {key: [(row["question"], tuple(row["answers"])) for row in rows] for key, rows in ROWS.items()}


@inputs(40, 0.3)
@given(archives())
def test_archives(folder, made):
    path = folder / "dataset.zip"
    path.write_bytes(made[0])
    taken, source = attempt(read_source, str(path))
    assert [one.name for one in folder.iterdir()] == ["dataset.zip"], "nothing is unpacked"
    assert [one.name for one in folder.parent.iterdir()] == ["inner"]
    if taken:
        found = _texts(source)
        assert found.keys() == PUBLISHED.keys() and all(found.values())
        with zipfile.ZipFile(io.BytesIO(made[0])) as archive:  # what Python's own reader finds under each name
            for name, (split, relation) in zip(NAMES, ROWS, strict=True):
                names = [one for one in archive.namelist() if one.endswith(f"/{relation}.{split}.json")
                         or one == f"{relation}.{split}.json"]  # fmt: skip
                rows = json.loads(archive.read(name if name in names else names[0]).decode("utf-8-sig"))
                want = [[one.strip() for one in row.get("answers") or [row["answer"]]] for row in rows]
                assert [list(answers) for _, answers in found[split, relation]] == want


def test_the_sound_archive_gives_every_row(folder):
    (folder / "dataset.zip").write_bytes(SOUND)
    assert _texts(read_source(str(folder / "dataset.zip"))) == PUBLISHED


def _entry(name, kind, content):
    """A member of a file type, such as a link."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info, content


def test_links_bombs_and_lies_in_archives(folder):
    name = "dataset/train/P17.train.json"
    others = [(one, json.dumps(rows)) for one, rows in NAMES.items() if one != name]
    path = folder / "dataset.zip"
    path.write_bytes(_zip([*others, _entry(name, stat.S_IFLNK, "/etc/passwd")]))
    assert "is not JSON" in attempt(read_source, str(path))[1]  # its text is the target's name, which is not followed
    path.write_bytes(_zip([*others, (name, b" " * (MAX_FILE_BYTES + 1))]))
    assert "too much for this data" in attempt(read_source, str(path))[1]
    lying = bytearray(_zip([(name, b" " * (MAX_FILE_BYTES + 1))]))
    for size in (lying.rindex(b"PK\x01\x02") + 24, 22):  # says 10 bytes, and unpacks to more
        lying[size : size + 4] = struct.pack("<I", 10)
    path.write_bytes(bytes(lying))
    taken, message = attempt(read_source, str(path))
    assert not taken and "cannot be read as zip" in message


def test_a_tar_file_is_no_data_set(folder):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        info = tarfile.TarInfo("../../evil.json")
        archive.addfile(info, io.BytesIO())
    (folder / "dataset.zip").write_bytes(sink.getvalue())
    assert "neither a zip file nor a folder" in attempt(read_source, str(folder / "dataset.zip"))[1]


@inputs(15, 0.1)
@given(data=st.data())
def test_folders_of_files(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("files")
    for name, rows in NAMES.items():
        (place / name.rpartition("/")[2]).write_text(json.dumps(rows))
    name = data.draw(st.sampled_from(sorted(NAMES))).rpartition("/")[2]
    what = data.draw(st.sampled_from(("bytes", "json", "folder", "link", "loop")))
    path = place / name
    content = path.read_bytes()
    path.unlink()
    if what == "bytes":
        path.write_bytes(data.draw(damaged(content)))
    elif what == "json":
        path.write_bytes(data.draw(changed(json.loads(content)).flatmap(written)))
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("/nowhere" if what == "link" else path)
    taken, source = attempt(read_source, str(place))
    assert not taken or all(rows for split in source.values() for rows in split.values())
