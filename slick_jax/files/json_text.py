"""JSON that someone else wrote, such as rows, configs and headers of tensor files: UTF-8 alone, and one kind of error.

Python's own reader guesses the encoding line by line, so that lines of a UTF-16 file can come out as other characters,
takes the last of two equal keys, and leaves the stack on deep nesting.
"""

from __future__ import annotations

import codecs
import json
from typing import Any

MOST_LEVELS = 100  # of objects and lists within each other


def parse(content: bytes | str, unique: bool = False) -> Any:
    """The JSON value of `content`, which may begin with a byte order mark.

    unique: a key that an object names twice is an error; else the last one counts, as in most readers.
    Raises ValueError, which says what is wrong, for anything that is no JSON in UTF-8.
    """
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode() if isinstance(content, bytes) else content
        found = (_UNIQUE if unique else _READER).decode(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if text.count("[") + text.count("{") > MOST_LEVELS:
        _check_levels(found)
    return found


def _check_levels(value: Any) -> None:
    """What is nested deeper than that is read, but cannot be written or shown again."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [inner for one in level if isinstance(one, dict | list)
                 for inner in (one.values() if isinstance(one, dict) else one)]  # fmt: skip
        if not level:
            return
    raise ValueError("nested too deeply")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"names {twice[:80]!r} twice")
    return found


_READER, _UNIQUE = json.JSONDecoder(), json.JSONDecoder(object_pairs_hook=_once)  # `json.loads` makes one for each text
