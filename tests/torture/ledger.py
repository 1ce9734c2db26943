"""The kills of a torture, one JSON line each, and the tables of docs/reliability.md that are made of them."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

QUARTERS = ("0-25 %", "25-50 %", "50-75 %", "75-100 %")  # of the CPU time of an undisturbed run
MARKS = ("<!-- figures -->", "<!-- /figures -->")


class Ledger:
    """Appends to a file, where there is one."""

    def __init__(self, path: str | None):
        self._file = open(path, "a", encoding="utf-8") if path else None  # noqa: SIM115  closed on exit

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def note(self, **line: Any) -> None:
        """Add a line; whole, whatever other processes add."""
        print(line)
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


def quarter(share: float) -> str:
    """Which of QUARTERS a share of the undisturbed run's CPU time is in."""
    return QUARTERS[min(3, int(4 * share))]


def tables(lines: list[dict]) -> str:
    """Kills by stage and moment, and what they cost."""
    kills = [line for line in lines if line["what"] == "kill"]
    runs = [line for line in lines if line["what"] == "run" and line["kills"]]
    moments = defaultdict(Counter)
    for kill in kills:
        moments[kill["stage"]][kill["moment"]] += kill["processes"]
    names = [*QUARTERS, *sorted({kill["moment"] for kill in kills} - {*QUARTERS})]
    out = ["| stage | " + " | ".join(names) + " | kills |", "| --- |" + " --- |" * (len(names) + 1)]
    for stage, of in moments.items():
        out.append(f"| {stage} | " + " | ".join(str(of[name]) for name in names) + f" | {sum(of.values())} |")
    total = [sum(of[name] for of in moments.values()) for name in names]
    out += ["| all | " + " | ".join(map(str, total)) + f" | {sum(total)} |", ""]
    out += ["| stage | runs | kills | CPU seconds of an undisturbed run | lost per kill |"]
    out += ["| --- | --- | --- | --- | --- |"]
    for stage in moments:
        of = [run for run in runs if run["stage"] == stage]
        n = sum(run["kills"] for run in of)
        lost = sum(run["seconds"] - run["undisturbed"] for run in of) / max(n, 1)
        usual = sum(run["undisturbed"] for run in of) / max(len(of), 1)
        out.append(f"| {stage} | {len(of)} | {n} | {usual:.1f} | {lost:.1f} |")
    return "\n".join(out)


def faults(lines: list[dict]) -> str:
    """The other faults: how often each was tried."""
    names = {
        "preempted": "SIGTERM, then the same command", "full disk": "full disk (tmpfs)",
        "file size": "file-size limit", "read only": "read-only disk", "in the way": "file in place of a folder",
        "two runs": "second run in the folder", "clocks": "files dated 50 years back or ahead",
        "cut": "file cut in the middle",
    }  # fmt: skip
    counts = Counter((line["what"], line["stage"]) for line in lines for _ in range(line.get("times", 1)))
    stages = list(dict.fromkeys(line["stage"] for line in lines if line["what"] in names))
    out = ["| fault | " + " | ".join(stages) + " |", "| --- |" + " --- |" * len(stages)]
    for what, told in names.items():
        out.append(f"| {told} | " + " | ".join(str(counts[what, stage]) for stage in stages) + " |")
    return "\n".join(out)


def write(page: Path, lines: list[dict]) -> None:
    """Put the tables between the marks of docs/reliability.md."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    when = f"{datetime.date.today().isoformat()}, {os.cpu_count()} CPU cores ({platform.machine()}), `make torture`:"
    page.write_text("\n\n".join([before + MARKS[0], when, tables(lines), faults(lines), MARKS[1]]) + after)


if __name__ == "__main__":
    found = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    print(tables(found), faults(found), sep="\n\n")
    if len(sys.argv) > 2:
        write(Path(sys.argv[2]), found)
