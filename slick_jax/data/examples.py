"""The question-answer record, and reading it from JSON lines, Parquet, TFDS, EntityQuestions or the world."""

import gzip
import io
import json
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slick_jax.config import DataConfig
from slick_jax.errors import InputError, short
from slick_jax.files.json_text import parse

POOL_SPLITS = ("dev", "ood_dev")  # exemplars are drawn from these
SPLITS = ("train", "dev", "test", "ood_dev", "ood_test")
ONE_RELATION = "all"  # relation of rows that name none
POOLED = "(small relations)"  # relation that `slick doctor` asks rows of small ones as
LEAST_POOL = 100  # rows of a relation that an exemplar pool keeps, whatever share of the data is asked for
MAX_PROBLEMS = 20  # bad lines listed before the rest is only counted
MAX_LINE_BYTES = 64 << 20  # of one row; a packed file of a few kB may unpack to a line without end


@dataclass(frozen=True)
class Example:
    """One question with its right answers."""

    id: str  # unique over all splits; the sampling noise hangs on it
    question: str
    answers: tuple[str, ...]  # any of them is right
    relation: str = ONE_RELATION  # examples of one relation share exemplars
    subject: str | None = None  # what the question asks about, if known
    split: str = "train"


def load_splits(data: DataConfig) -> dict[str, list[Example]]:
    """All splits of `data`, or `data.share` of their rows, checked, in the order of `SPLITS`.

    Raises InputError for unreadable or bad rows, an empty source, and ids that occur twice.
    """
    if data.kind == "world":
        from slick_jax.data.world import make_world

        splits = make_world(data.world).splits
    elif data.kind == "entity_questions":
        from slick_jax.data.entity_questions.preparation import prepare

        splits = prepare(data.path, drop_shared_objects=data.drop_shared_objects)
    elif data.kind == "tfds":
        from slick_jax.data.tfds_rows import read_tfds

        splits = read_tfds(data.path)
    else:
        files = {"train": data.path, "dev": data.dev_path, "test": data.test_path}
        splits = {name: read_rows(path, name) for name, path in files.items() if path or name == "train"}
    check_ids_differ(splits)
    return {name: _thinned(splits[name], data.share) for name in SPLITS if name in splits}


def _thinned(rows: list[Example], share: float) -> list[Example]:
    """`share` of the rows of every relation, evenly spread over them and at least one; more of exemplar pools."""
    if share == 1.0:
        return rows
    sizes, seen = Counter(row.relation for row in rows), Counter()
    kept = []
    for row in rows:
        size, place = sizes[row.relation], seen[row.relation]
        least = LEAST_POOL if row.split in POOL_SPLITS else 1
        wanted = min(size, max(least, round(share * size)))
        if (place + 1) * wanted // size > place * wanted // size:
            kept.append(row)
        seen[row.relation] += 1
    return kept


def limited(splits: dict[str, list[Example]], data: DataConfig) -> dict[str, list[Example]]:
    """The first `data.limit` rows of every split that has any; exemplar pools, dev among them, stay whole."""
    return {name: rows if name in POOL_SPLITS else rows[: data.limit] for name, rows in splits.items() if rows}


def same_text(text: str) -> str:
    """What two spellings of one question or subject have in common: no case, single spaces, accents joined (NFC)."""
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", text).casefold().split()))


def to_jsonl(examples: Iterable[Example]) -> str:
    """The examples as JSON lines that `read_rows` reads back."""
    lines = []
    for example in examples:
        row = {"id": example.id, "relation": example.relation}
        if example.subject is not None:
            row["subject"] = example.subject
        row |= {"question": example.question, "answers": example.answers}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def chosen_splits(data: DataConfig, splits: Iterable[str]) -> list[str]:
    """The splits to annotate: those the config names, or every one that is no exemplar pool.

    Raises InputError when the config names a split that the data does not have.
    """
    present = list(splits)
    absent = [name for name in data.splits if name not in present]
    if absent:
        raise InputError(
            f"config.data.splits: the data has no split {', '.join(absent)}; choose from {', '.join(present)}"
        )
    return [name for name in present if (name in data.splits if data.splits else name not in POOL_SPLITS)]


def read_rows(path: str, split: str) -> list[Example]:
    """Examples of a JSON lines (`.jsonl`, `.json`, also `.gz`) or Parquet file.

    A row has `question`, `answer` (a text) or `answers` (a list), and optionally `id` (default `<stem>.<line index>`,
    counted from 0), `relation` and `subject`. Outer white space is dropped.
    Raises one InputError that lists the bad rows.
    """
    read = list(checked_rows(path, split, _FIELDS))
    raise_problems([f"{place}: {found}" for place, _, found in read if isinstance(found, str)])
    if not read:
        raise InputError(f"{path}: holds no rows; expected one JSON object with question and answer per line")
    return [found for *_, found in read]


def checked_rows(
    path: str, split: str, fields: Sequence[str] | None = None
) -> Iterator[tuple[str, dict, Example | str]]:
    """(file:line, its row, the Example or what is wrong with it) of every line, as for `read_rows`.

    fields: of Parquet the columns to read, all by default. Raises InputError where the file cannot be read.
    """
    file = Path(path)
    stem = file.name.removesuffix(".gz").rsplit(".", 1)[0]
    first_place: dict[str, str] = {}
    for index, row in rows_of(file, fields):
        place = f"{path}:{index + 1}"
        found = row if isinstance(row, str) else example_of(row, f"{stem}.{index}", split)
        if isinstance(found, Example) and first_place.setdefault(found.id, place) != place:
            found = f"id {found.id!r} is already used at {first_place[found.id]}; give every row its own id"
        yield place, {} if isinstance(row, str) else row, found


def raise_problems(problems: list[str], heading: str = "") -> None:
    """One InputError for the bad rows found, if any: the first `MAX_PROBLEMS`, and the number of the others."""
    if problems:
        more = len(problems) - MAX_PROBLEMS
        raise InputError.of(problems[:MAX_PROBLEMS] + [f"and {more} more bad rows"] * (more > 0), heading)


def _lines(file: Path) -> Iterator[bytes]:
    """Lines of a plain or `.gz` file, each with its line end; InputError where the file cannot be read."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            stream = io.BufferedReader(opened)  # files of a store have no bound to a line
            while line := stream.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise InputError(f"{file}: a line is longer than {MAX_LINE_BYTES >> 20} MiB; is it JSON lines?")
                yield line
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read ({error}); check the path and that the file is whole") from error


def rows_of(file: Path, fields: Sequence[str] | None) -> Iterator[tuple[int, dict | str]]:
    """(line index, row) of a JSON lines (also `.gz`) or Parquet file, or (line index, what is wrong with the line).

    Of Parquet only the columns named by `fields` are read (None: all). Raises InputError where the file cannot be read.
    """
    if file.suffix == ".parquet":
        yield from enumerate(_parquet_rows(file, fields))
        return
    for index, line in enumerate(_lines(file)):
        if line.strip():
            try:
                row = parse(line, unique=True)
            except ValueError as error:
                yield index, f"is not JSON ({error}); each line must be one JSON object"
            else:
                yield index, row if isinstance(row, dict) else f"expected a JSON object, found {short(row)}"


def _parquet_rows(file: Path, fields: Sequence[str] | None) -> list[dict]:
    import pyarrow
    from pyarrow import parquet

    try:
        columns = [name for name in parquet.read_schema(file).names if fields is None or name in fields]
        if len(set(columns)) < len(columns):
            raise ValueError(f"a column twice: {', '.join(columns)}")
        table = parquet.read_table(file, columns=columns, page_checksum_verification=True)
        table.validate(full=True)
        return table.to_pylist()
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:  # ValueError: text that is no UTF-8
        raise InputError(f"{file}: cannot be read as Parquet ({error}); check the path and the file") from error


_FIELDS = ("id", "question", "answer", "answers", "relation", "subject")


def example_of(row: dict, default_id: str, split: str) -> Example | str:
    """The row as an Example, or what is wrong with it; fields other than those of `read_rows` are not looked at."""
    name, question, answer, answers, relation, subject = map(row.get, _FIELDS)
    if answer is not None and answers is not None and not (isinstance(answers, list) and answers[:1] == [answer]):
        return "has both answer and answers, and answer is not the first of them; keep one of the two"
    if answers is None:
        texts = [("question", question), ("answer", answer)]
        answers = [answer]
    elif isinstance(answers, list) and answers:
        texts = [("question", question), *((f"answers[{i}]", one) for i, one in enumerate(answers))]
    else:
        return f"answers must be a list with at least one text, found {short(answers)} (for one answer use `answer`)"
    texts += [(field, text) for field, text in (("relation", relation), ("subject", subject)) if text is not None]
    for field, text in texts:
        problem = text_problem(field, text)
        if problem:
            return problem
    if problem := id_problem(name):
        return problem
    return Example(
        id=default_id if name is None else str(name),
        question=question.strip(),
        answers=tuple(one.strip() for one in answers),
        relation=relation.strip() if relation else ONE_RELATION,
        subject=subject.strip() if subject else None,
        split=split,
    )


def text_problem(name: str, text: object) -> str | None:
    """What is wrong with field `name` of a row, or None: it must be a text, not empty, and an answer one line."""
    if text is None:
        return f"{name} is missing; every row needs a question and an answer (or answers)"
    if not isinstance(text, str):
        return f"{name} must be a text, found {short(text)}"
    if not text.strip():
        return f"{name} is empty; fill it in" + ("" if name in ("question", "answer") else " or leave the field out")
    if name.startswith("answer") and "\n" in text.strip():
        why = "an answer ends at the first one: no generation could match it"
        return f"{name} {short(text)} holds a line break, and {why}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{name} {short(text)} holds half a surrogate pair and is no valid text"
    return None


def id_problem(name: object) -> str | None:
    """What is wrong with a row's own `id`, or None: it must be a text or a whole number, where there is one."""
    if isinstance(name, bool) or not isinstance(name, str | int | None):
        return f"id must be a text or a whole number, found {short(name)}"
    return text_problem("id", name) if isinstance(name, str) else None


def check_ids_differ(splits: dict[str, list[Example]]) -> None:
    """Raises InputError for ids that occur twice, within a split or in two."""
    seen: dict[str, str] = {}
    problems = []
    for name, examples in splits.items():
        for example in examples:
            if example.id in seen:
                problems.append(f"id {example.id!r} is in {seen[example.id]} and in {name}")
            seen[example.id] = name
    raise_problems(
        problems,
        "ids must be unique; a row without `id` is named by file name (without folder) and line, so rename one of two"
        " files of one name, or give the rows ids:",
    )
