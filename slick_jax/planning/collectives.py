"""What the devices of a mesh send each other: the collectives of a compiled program, read from its HLO text."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

import numpy as np
from jax.sharding import Mesh

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (.*)$")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|branch_computations|called_computations)=(\{[^}]*\}|%?[\w.-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\]")
_LISTED, _COUNTED = r"\{[{}\d,]*\}", r"\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?"
_NAMED = r"mesh\[[^\]]*\](?:, device_ids=\([^ ]*\))? \{[^}]*\}"
_GROUPS = re.compile(rf"(?:replica_groups|source_target_pairs)=({_LISTED}|{_COUNTED}|{_NAMED})")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective instruction.

    kind: of `KINDS`; shape: of what one device gets, in HLO's notation; bytes: of that; times: how often a run of the
    program executes it, loops counted; axes: mesh axes it goes along; operation: the JAX operation it stems from;
    overlapped: it is started and awaited apart, or spread over other work.
    """

    kind: str
    shape: str
    bytes: int
    times: int
    axes: tuple[str, ...]
    operation: str
    overlapped: bool


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    shape: str
    opcode: str
    rest: str  # operands and attributes


def collectives_of(text: str, mesh: Mesh) -> list[Collective]:
    """Every collective that the program `text` (`compiled.as_text()`, compiled for `mesh`) executes, in its order.

    A collective that is started and awaited apart counts once, and so does one that the TPU compiler has spread over
    several fusions. Raises ValueError for a loop whose number of turns the compiler does not tell, where there is a
    collective inside, and for groups in a notation that is not known.
    """
    computations, entry = _parse(text)
    times = _times(computations, entry)
    every = [one for instructions in computations.values() for one in instructions]
    fused = {name for one in every if one.opcode == "fusion" for name, _ in _calls(one, computations)}
    found: dict[str, Collective] = {}
    for name, instructions in computations.items():
        awaited = {_first_operand(one): one.shape for one in instructions if one.opcode.endswith("-done")}
        for one in instructions:
            kind = one.opcode.removesuffix("-start")
            if kind not in KINDS or not times[name]:
                continue
            if math.isnan(times[name]):
                raise ValueError(f"{one.name}: a loop around it does not tell its number of turns")
            shape = awaited.get(one.name, one.shape)
            operation = re.search(r'op_name="([^"]*)"', one.rest)
            channel = re.search(r"channel_id=(\d+)", one.rest)
            key = f"channel {channel.group(1)}" if channel and name in fused else one.name
            found[key] = Collective(
                kind, _plain(shape), _bytes(shape), int(times[name]), _axes(one, mesh),
                operation.group(1) if operation else "", key in found or one.opcode != kind,
            )  # fmt: skip
    return list(found.values())


def _parse(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Instructions per computation, and the name of the computation that is run."""
    computations: dict[str, list[_Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            current = computations[header.group(2)] = []
            entry = header.group(2) if header.group(1) else entry
        elif current is not None and (match := _INSTRUCTION.match(line)):
            shape, rest = _split_shape(match.group(2))
            opcode, _, rest = rest.partition("(")
            current.append(_Instruction(match.group(1), shape, opcode, rest))
    return computations, entry


def _split_shape(text: str) -> tuple[str, str]:
    """The shape that opens an instruction, and what follows. A tuple's shape is in brackets, with spaces."""
    if not text.startswith("("):
        shape, _, rest = text.partition(" ")
        return shape, rest
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[: place + 1], text[place + 2 :]
    raise ValueError(f"unbalanced brackets: {text[:80]}")


def _times(computations: dict[str, list[_Instruction]], entry: str) -> dict[str, float]:
    """How often each computation is executed in a run; NaN where a loop does not say."""
    calls: dict[str, list[tuple[str, float]]] = {
        name: [call for one in instructions for call in _calls(one, computations)]
        for name, instructions in computations.items()
    }
    times: dict[str, float] = collections.defaultdict(float, {entry: 1.0})
    order = _callers_first(calls, entry)
    for name in order:
        for called, turns in calls[name]:
            times[called] += times[name] * turns
    return {name: times[name] for name in computations}


def _calls(one: _Instruction, computations: dict[str, list[_Instruction]]) -> Iterator[tuple[str, float]]:
    """The computations that an instruction calls, and how often."""
    called = [(kind, name) for kind, names in _CALLED.findall(one.rest) for name in re.findall(r"[\w.-]+", names)]
    conditions = [name for kind, name in called if kind == "condition"]
    for kind, name in called:
        known = _TRIPS.search(one.rest)
        if kind != "body":
            yield name, 1.0
        else:
            yield name, float(known.group(1)) if known else _turns(computations[conditions[0]], computations[name])


def _turns(condition: list[_Instruction], body: list[_Instruction]) -> float:
    """Turns of a loop that counts from 0 while this holds: 'counter < constant'. `lax.scan` counts by one in s32; the
    partitioner's own loops, which send a piece of a product round a ring, count in u32, several steps a turn."""
    constants = [one for one in condition if one.opcode == "constant" and one.shape.startswith(("s32[]", "u32[]"))]
    last = condition[-1]
    if len(constants) != 1 or last.opcode != "compare" or "direction=LT" not in last.rest:
        return math.nan
    return _constant(constants[0]) / (1.0 if constants[0].shape.startswith("s32") else _step(condition, body))


def _step(condition: list[_Instruction], body: list[_Instruction]) -> float:
    """By how much a turn raises the counter, a constant or several, one added after the other; else NaN."""
    named = {one.name: one for one in body}
    places = [one.rest for one in condition if one.opcode == "get-tuple-element"]
    place = int(re.search(r"index=(\d+)", places[0]).group(1)) if len(places) == 1 else -1
    at, step = named.get(_operands(body[-1])[place]), 0.0
    while at is not None and at.opcode == "add":
        operands = [named.get(name) for name in _operands(at)]
        added = [one for one in operands if one is not None and one.opcode == "constant"]
        rest = [one for one in operands if one not in added]
        if len(added) != 1 or len(rest) != 1:
            return math.nan
        at, step = rest[0], step + _constant(added[0])
    begins = at is not None and at.opcode == "get-tuple-element" and f"index={place}" in re.split(r"[ ,]+", at.rest)
    return step if begins and step else math.nan


def _constant(one: _Instruction) -> float:
    return float(one.rest.partition(")")[0])


def _callers_first(calls: dict[str, list[tuple[str, float]]], entry: str) -> list[str]:
    """Computations that can be reached, each behind all its callers."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for called, _ in calls[name]:
                visit(called)
            order.append(name)

    visit(entry)
    return order[::-1]


def _first_operand(one: _Instruction) -> str:
    return _operands(one)[0]


def _operands(one: _Instruction) -> list[str]:
    return re.findall(r"%?([\w.-]+)[,)]", one.rest.partition(")")[0] + ")")


def _plain(shape: str) -> str:
    """The shape without layouts."""
    return re.sub(r"\{[^{}]*\}", "", shape)


def _bytes(shape: str) -> int:
    """Bytes of all arrays of a shape."""
    total = 0
    for dtype, sizes in _ARRAY.findall(shape):
        bits = 8 if dtype == "pred" else int(re.match(r"[a-z]+(\d+)", dtype).group(1))
        total += math.prod(map(int, filter(None, sizes.split(",")))) * bits // 8
    return total


def _axes(one: _Instruction, mesh: Mesh) -> tuple[str, ...]:
    """Mesh axes along which the devices of a group differ. Devices are numbered as the mesh lists them."""
    found = _GROUPS.search(one.rest)
    if not found:
        raise ValueError(f"{one.name}: groups of devices in an unknown notation: {one.rest[:200]}")
    groups = _groups(found.group(1)) or [list(range(mesh.size))]
    axes = set()
    for group in groups:
        places = np.array(np.unravel_index(group, mesh.devices.shape))
        axes |= {axis for axis, row in zip(mesh.axis_names, places, strict=True) if len(set(row)) > 1}
    return tuple(axis for axis in mesh.axis_names if axis in axes)


def _groups(text: str) -> list[list[int]]:
    """Groups of device numbers in any of HLO's notations.

    '{{0,1},{2,3}}'; '[2,2]<=[4]', counted, with axes 'T(1,0)' exchanged; "mesh['a'=2,'b'=4] {'b'}", the devices along
    axes of a mesh, or along the part "'b':(2)2" of one, of size 2 behind a part of size 2.
    """
    if text.startswith("{"):
        return [_numbers(group) for group in re.findall(r"\{([\d,]+)\}", text)]
    if text.startswith("mesh"):
        return _groups_of_mesh(*re.match(r"mesh\[(.*?)\](?:, device_ids=\((.*)\))? \{(.*)\}", text).groups())
    shape, sizes, exchanged = re.match(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text).groups()
    return _counted(sizes, exchanged).reshape(_numbers(shape)).tolist()


def _counted(sizes: str, exchanged: str | None) -> np.ndarray:
    """0, 1, 2 ... in an array of these sizes, its axes then exchanged."""
    ids = np.arange(math.prod(_numbers(sizes))).reshape(_numbers(sizes))
    return ids.transpose(_numbers(exchanged)) if exchanged else ids


def _groups_of_mesh(axes: str, ids: str | None, along: str) -> list[list[int]]:
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    parts: list[int] = []  # sizes of the axes, cut where only a part is named
    grouped: list[int] = []  # places in `parts`
    named = {name: (before, size) for name, before, size in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", along)}
    for name, whole in sizes.items():
        before, size = named.get(name, ("", ""))
        before, size = (int(before), int(size)) if size else (1, whole)
        grouped += [len(parts) + 1] if name in named else []
        parts += [before, size, whole // (before * size)]
    numbers = np.arange(math.prod(parts))
    if ids:  # '[4,2]T(1,0)': the mesh lists its devices in this order
        numbers = _counted(*re.fullmatch(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", ids).groups()).reshape(-1)
    members = math.prod(parts[place] for place in grouped)
    return np.moveaxis(numbers.reshape(parts), grouped, range(-len(grouped), 0)).reshape(-1, members).tolist()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
