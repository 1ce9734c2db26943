"""A plan as text, and as JSON."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slick_jax.config import Config
from slick_jax.planning.devices import KINDS
from slick_jax.planning.fit import fits
from slick_jax.planning.programs import Compiled
from slick_jax.planning.stages import Stage
from slick_jax.planning.target import Target

GB = 1e9
HOUR = 3600.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that was found. model: its name and number of parameters; remarks: what the figures leave out; advice: by
    stage that does not fit."""

    config: Config
    model: tuple[str, int]
    target: Target
    stages: Sequence[Stage]
    remarks: Sequence[str]
    advice: Mapping[str, str]

    def table(self) -> list[dict[str, Any]]:
        """Hours of every stage on as many devices of each kind, whether all stages fit there, and device-hours of all
        of them together."""
        found = []
        for kind in {self.target.kind.name: self.target.kind, **KINDS}.values():
            usable = kind.usable(self.config.plan.memory_share)
            bounds = {one.name: one.seconds(kind, self.target, self.config) for one in self.stages}
            hours = {name: max(times.values()) / HOUR for name, times in bounds.items()}
            whole = [name for name in hours if name != "train" or "study" not in hours]  # which has it among its runs
            found.append({
                "device": kind.name,
                "does_not_fit": [one.name for one in self.stages if one.peak - one.spare > usable],
                "hours": hours,
                "bound_by": {name: max(times, key=times.get) for name, times in bounds.items()},
                "device_hours": sum(hours[name] for name in whole) * self.target.count,
            })  # fmt: skip
        return found

    def record(self) -> dict[str, Any]:
        """plan.json."""
        target, mesh = self.target, self.target.mesh
        return {
            "model": {"name": self.model[0], "parameters": self.model[1]},
            "target": {
                "device": target.kind.name, "devices": target.count, "topology": target.topology,
                "mesh": dict(mesh.shape), "per_process": target.per_process, "usable_bytes": target.usable,
            },
            "utilisation": self.config.plan.utilisation,
            "stages": [_stage(one, target) for one in self.stages],
            "devices": self.table(),
            "remarks": list(self.remarks),
            "advice": dict(self.advice),
        }  # fmt: skip

    def text(self) -> str:
        """For people."""
        return "\n".join([*self._head(), "", *self._memory(), "", *self._work(), "", *self._hours(), *self._remarks()])

    def _head(self) -> Iterator[str]:
        target, kind = self.target, self.target.kind
        mesh = " x ".join(f"{name} {size}" for name, size in target.mesh.shape.items())
        yield f"model   {self.model[0]}, {self.model[1]:,} parameters, computed in {self.config.model.dtype}"
        yield (
            f"target  {target.topology or f'{target.count} x {kind.name}'}, mesh {mesh}; a device has"
            f" {kind.memory / GB:.0f} GB, of which a run may take {target.usable / GB:.1f}"
        )

    def _memory(self) -> Iterator[str]:
        names = list(dict.fromkeys(name for stage in self.stages for name in stage.memory))
        yield from _columns(
            ["GB of a device", *(stage.name for stage in self.stages)],
            [
                *([name, *(_gb(stage.memory.get(name)) for stage in self.stages)] for name in names),
                ["all at once", *(_gb(stage.peak) for stage in self.stages)],
                ["fits", *("yes" if fits(stage, self.target.usable) else "NO" for stage in self.stages)],
            ],
        )
        for stage in self.stages:
            yield f"  {stage.name}: {stage.source}"
        for name, text in self.advice.items():
            yield f"  {name} does not fit: {text}"

    def _work(self) -> Iterator[str]:
        received = {stage.name: sum(stage.received.values()) for stage in self.stages}
        yield from _columns(
            ["of the whole stage", "PFLOP", "calls", "GB moved a device", "GB received a device"],
            [
                [
                    stage.name, f"{stage.flops / 1e15:,.4g}", f"{stage.calls:,.0f}", f"{stage.moved / GB:,.4g}",
                    f"{received[stage.name] / GB:,.4g}",
                ]
                for stage in self.stages
            ],
        )  # fmt: skip
        for stage in self.stages:
            yield f"  {stage.name}: {stage.told}"
        for stage in self.stages:
            for program in stage.programs:
                yield from _collectives(stage.name, program, self.target)

    def _hours(self) -> Iterator[str]:
        share = self.config.plan.utilisation
        yield f"hours on {self.target.count} devices, at {share:.0%} of the peak where arithmetic is the bound"
        names = [stage.name for stage in self.stages]
        rows = []
        for row in self.table():
            cells = (f"{row['hours'][name]:,.3g} {_BOUND[row['bound_by'][name]]}" for name in names)
            lacks = ", ".join(row["does_not_fit"])
            rows.append([row["device"], *cells, f"{row['device_hours']:,.4g}", f"no: {lacks}" if lacks else "yes"])
        yield from _columns(["device", *names, "device-hours", "fits"], rows)
        yield "  bound by a: arithmetic, m: memory, l: links"

    def _remarks(self) -> Iterator[str]:
        yield from (f"  {one}" for one in self.remarks)


_BOUND = {"arithmetic": "a", "memory": "m", "links": "l"}


def _collectives(stage: str, program: Compiled, target: Target) -> Iterator[str]:
    """The collectives of a compiled program, those of a kind and mesh axes together."""
    found: collections.Counter = collections.Counter()
    overlapped: collections.Counter = collections.Counter()
    for one in program.collectives:
        key = one.kind, " x ".join(one.axes)
        found[key] += one.bytes * one.times
        overlapped[key] += one.bytes * one.times * one.overlapped
    where = f"compiled for {target.compiled_for(math.prod(program.sizes.values()))} in {program.seconds:.0f} s"
    parts = (
        f"{kind} over {axes} {size / GB:.3g} GB" + f" ({overlapped[kind, axes] / size:.0%} overlapped)" * (size > 0)
        for (kind, axes), size in found.most_common() if size >= 1e6
    )  # fmt: skip
    none = f"collectives not read ({program.unread}), those of shapes count" if program.unread else "none of size"
    yield f"  {stage}, {program.name}, {where}: " + ("; ".join(parts) or none)


def _stage(stage: Stage, target: Target) -> dict[str, Any]:
    axes = {" x ".join(axes): size for axes, size in stage.received.items() if size}
    return {
        "stage": stage.name, "memory": dict(stage.memory), "peak": stage.peak, "source": stage.source,
        "fits": fits(stage, target.usable), "flops": stage.flops, "moved": stage.moved, "received": axes,
        "calls": stage.calls, "load": stage.load, "mesh": dict((stage.mesh or target.mesh).shape), "told": stage.told,
        "programs": [_program(one) for one in stage.programs],
    }  # fmt: skip


def _program(program: Compiled) -> dict[str, Any]:
    memory = program.memory
    return {
        "name": program.name, "seconds_to_compile": program.seconds, "flops_loops_once": program.flops,
        "memory": {
            "arguments": memory.argument_size_in_bytes, "outputs": memory.output_size_in_bytes,
            "aliased": memory.alias_size_in_bytes, "temporaries": memory.temp_size_in_bytes,
            "peak": memory.peak_memory_in_bytes,
        },
        "collectives": [dataclasses.asdict(one) for one in program.collectives],
    }  # fmt: skip


def _gb(size: float | None) -> str:
    return "-" if size is None else f"{size / GB:,.2f}" if size > GB / 10 or not size else f"{size / GB:.2g}"


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table, its first column to the left and the others to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    for row in (head, *rows):
        first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join([f"{row[0]:<{widths[0]}}", *others]).rstrip()
