"""Reads EntityQuestions as published: the authors' dataset.zip, a folder of its files, or JSON lines."""

import dataclasses
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from slick_jax.data.entity_questions.relations import RELATIONS, subject_of
from slick_jax.data.examples import Example, example_of, raise_problems, read_rows
from slick_jax.errors import InputError
from slick_jax.files.json_text import parse

RAW_SPLITS = ("train", "dev", "test")
URL = "https://nlp.cs.princeton.edu/projects/entity-questions/dataset.zip"
MAX_FILE_BYTES = 16 << 20  # the largest published file has 1 MiB; more is no file of this data set
_MEMBER = re.compile(r"(?:dataset/)?(?:(train|dev|test)/)?(P\d+)\.(train|dev|test)\.json")

# {split: {relation: examples in file order}}
Source = dict[str, dict[str, list[Example]]]


def read_source(path: str) -> Source:
    """All rows of all 24 relations, each with its subject, ids `<relation>.<split>.<index>`.

    `path` is dataset.zip (read without unpacking), a folder of `P*.<split>.json` files (flat, in train/ dev/ test/, or
    below dataset/), or a folder with one `*<split>.jsonl` or `.jsonl.gz` per split. Subjects that a source does not
    give are read off the question. Raises InputError for anything else, and for a relation that is missing.
    """
    place = Path(path)
    if place.is_dir():
        files = _official_files(place)
        source = _read_official(path, _folder_texts(place, files)) if files else _read_lines(place)
    elif zipfile.is_zipfile(place):
        source = _read_official(path, _zip_texts(place))
    else:
        raise InputError(f"{path}: neither a zip file nor a folder; get dataset.zip from {URL}")
    missing = [f"{relation} in {split}" for split in source for relation, rows in source[split].items() if not rows]
    if missing:
        raise InputError(f"{path}: no rows of relation {', '.join(missing)}; use the whole data set, from {URL}")
    return source


def _empty() -> Source:
    return {split: {relation: [] for relation in RELATIONS} for split in RAW_SPLITS}


def _official_files(folder: Path) -> list[str]:
    found = [file.relative_to(folder).as_posix() for file in folder.rglob("P*.json") if file.is_file()]
    return sorted(name for name in found if _MEMBER.fullmatch(name))


def _folder_texts(folder: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        try:
            size = (folder / name).stat().st_size
            if size > MAX_FILE_BYTES:
                raise InputError(f"{folder / name}: {size} bytes, too much for this data")
            yield name, (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read ({error})") from error


def _zip_texts(file: Path) -> Iterator[tuple[str, bytes]]:
    """Nothing is unpacked to disk: members are read by name, no further than the size that they are said to have."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if _MEMBER.fullmatch(member.filename)]
            for member in members:
                if member.file_size > MAX_FILE_BYTES:
                    raise InputError(f"{file}:{member.filename}: {member.file_size} bytes, too much for this data")
                text = archive.read(member)
                yield member.filename, text
    except InputError:
        raise
    except Exception as error:  # damaged entries raise whatever zipfile, zlib, bz2 and lzma make of them
        raise InputError(f"{file}: cannot be read as zip ({error}); download it again from {URL}") from error


def _read_official(path: str, texts: Iterator[tuple[str, bytes]]) -> Source:
    """From files that each hold a JSON list of {question, answers} of one relation and split."""
    source, problems, seen = _empty(), [], {}
    for name, text in texts:
        folder, relation, split = _MEMBER.fullmatch(name).groups()
        where = f"{path}:{name}"
        if (folder or split) != split:
            raise InputError(f"{where}: a {split} file in folder {folder}; put it where it belongs")
        if relation not in source[split]:
            raise InputError(f"{where}: {relation} is no relation of EntityQuestions; remove the file")
        if (relation, split) in seen:
            raise InputError(f"{where}: the same relation and split as {seen[relation, split]}; keep one of them")
        seen[relation, split] = name
        try:
            rows = parse(text, unique=True)
        except ValueError as error:
            raise InputError(f"{where}: is not JSON ({error}); download it again from {URL}") from error
        if not isinstance(rows, list):
            raise InputError(f"{where}: expected a JSON list of question and answers, found {type(rows).__name__}")
        for index, row in enumerate(rows):
            made = "is no JSON object"
            if isinstance(row, dict):
                made = example_of(row, f"{relation}.{split}.{index}", split)
            _file_row(made, relation, f"{where}[{index}]", source[split][relation], problems)
    raise_problems(problems)
    return source


def _file_row(made: Example | str, relation: str, where: str, rows: list[Example], problems: list[str]) -> None:
    """Appends an example, with relation and subject filled in, to `rows`, or what is wrong with it to `problems`."""
    if isinstance(made, str):
        problems.append(f"{where}: {made}")
        return
    subject = made.subject or subject_of(relation, made.question)
    if subject is None:
        problems.append(f"{where}: {made.question!r} does not fit the template of {relation}, so it has no subject")
        return
    if (made.subject, made.relation) != (subject, relation):
        made = dataclasses.replace(made, subject=subject, relation=relation)
    rows.append(made)


def _read_lines(folder: Path) -> Source:
    """From one JSON lines file per split, whose rows name their relation."""
    source, problems = _empty(), []
    for split in RAW_SPLITS:
        names = [f"{prefix}{split}.jsonl{end}" for prefix in ("", "*.") for end in ("", ".gz")]
        files = sorted(file for name in names for file in folder.glob(name))
        if len(files) != 1:
            found = f"{len(files)} files" if files else "no file"
            raise InputError(
                f"{folder}: {found} for split {split}; expected P*.{split}.json files, or one {split}.jsonl or"
                f" *.{split}.jsonl (or .gz). The data set is at {URL}"
            )
        for row in read_rows(str(files[0]), split):
            if row.relation in source[split]:
                _file_row(row, row.relation, f"{files[0]}: id {row.id}", source[split][row.relation], problems)
            else:
                problems.append(f"{files[0]}: id {row.id}: {row.relation!r} is no relation of EntityQuestions")
    raise_problems(problems)
    return source
