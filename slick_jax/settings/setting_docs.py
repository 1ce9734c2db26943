"""Default and meaning of every setting, read off the source of its section for `--help`."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import io
import textwrap
import tokenize
import typing
from collections.abc import Iterator

from slick_jax.config import Config


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting as its dataclass documents it."""

    name: str  # dotted, such as annotate.temperature
    default: object
    meaning: str


@functools.cache
def settings() -> dict[str, Setting]:
    """Every setting by its dotted name, in the order of slick_jax.config."""
    return {one.name: one for one in _settings(Config, "")}


def _settings(cls: type, prefix: str) -> Iterator[Setting]:
    kinds, comments = typing.get_type_hints(cls), _comments(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(kinds[field.name]):
            yield from _settings(kinds[field.name], f"{prefix}{field.name}.")
        else:
            yield Setting(f"{prefix}{field.name}", field.default, comments.get(field.name, ""))


def _comments(cls: type) -> dict[str, str]:
    """The comment behind every field of a dataclass."""
    source = textwrap.dedent(inspect.getsource(cls))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    behind = {one.start[0]: one.string.lstrip("# ") for one in tokens if one.type == tokenize.COMMENT}
    fields = (node for node in ast.parse(source).body[0].body if isinstance(node, ast.AnnAssign))
    return {node.target.id: behind[node.end_lineno] for node in fields if node.end_lineno in behind}
