"""Token trees: what a question is asked behind one exemplar set, every shared token once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from slick_jax.knowledge.walk import Path, Row


class Asker(Protocol):
    """Whom a tree belongs to, such as a `Walk`: slot of its prefix in the bank, and what its noise hangs on."""

    prefix: int
    name: tuple[int, int, int]


class Kept(NamedTuple):
    """Tokens of an asker that were forwarded before: its question and a path behind it.

    slots: where their keys and values lie in the pool of a shard, one after the other.
    """

    path: Path
    shard: int
    slots: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Node:
    """A judged token of a tree: its place there, the path it ends, and the token whose log-probability is asked for."""

    place: int
    path: Path
    target: int | None


@dataclasses.dataclass(frozen=True)
class Tree:
    """Rows of one asker merged: the question's tokens once, and behind them every path that is asked, depth first.

    depth: how many tokens stand before each; end: place behind its last descendant (`attention.Forest`); paths: of the
    last tokens, those that no question holds. With `kept`, what that holds is not among `tokens`.
    """

    asker: Asker
    tokens: list[int]
    depth: list[int]
    end: list[int]
    nodes: list[Node]
    paths: list[Path] = dataclasses.field(default_factory=list)
    kept: Kept | None = None


def grow(rows: Sequence[Row], longest: int, kept: Kept | None = None) -> Iterator[Tree]:
    """The trees of the rows of one walk: one, unless that is longer than `longest` tokens.

    With `kept`, every row's path goes on from the one that was forwarded before.
    """
    rest = sorted(rows, key=lambda row: (*row.path, *row.continuation))
    while rest:
        tree, rest = _grow(rest, longest, kept)
        yield tree


def _grow(rows: list[Row], longest: int, kept: Kept | None) -> tuple[Tree, list[Row]]:
    """A tree of the first rows, in the order of their paths, and the rows that do not fit it."""
    walk = rows[0].walk
    tokens, given = ([], len(kept.path)) if kept else (list(walk.tokens), 0)
    question, last = len(walk.tokens), len(tokens) - 1
    depth, end = list(range(len(tokens))), [0] * len(tokens)
    places: list[int] = []  # of the tokens of the path that was added last
    before: Path = ()
    nodes: dict[int, Node] = {}
    paths: list[Path] = []
    taken = 0
    for row in rows:
        path = (*row.path, *row.continuation)
        shared = given
        while shared < min(len(path), len(before)) and path[shared] == before[shared]:
            shared += 1
        if taken and len(tokens) + len(path) - shared > longest:
            break
        taken += 1
        for place in places[shared - given :]:
            end[place] = len(tokens)
        del places[shared - given :]
        for step in range(shared, len(path)):
            places.append(len(tokens))
            tokens.append(path[step])
            depth.append(question + step)
            end.append(0)
            paths.append(path[: step + 1])
        start = len(row.path)
        for step in range(start, len(path) + 1):
            place = places[step - given - 1] if step else last
            if row.targets or place not in nodes:
                nodes[place] = Node(place, path[:step], row.targets[step - start] if row.targets else None)
        before = path
    end = [place or len(tokens) for place in end]  # what was never closed reaches to the end
    return Tree(walk, tokens, depth, end, list(nodes.values()), paths, kept), rows[taken:]
