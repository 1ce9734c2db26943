"""Results of the annotation benchmarks as Markdown, for RESULTS.md."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path


def page(title: str, found: dict[str, dict]) -> str:
    """A heading, the table of engines, and what annotation's time went into."""
    ours = found.get("annotate", {"error": "not run"})
    limits = {result["most_new_tokens"] for result in found.values() if "most_new_tokens" in result}
    written = f"; peers write at most {max(limits)} tokens" if limits else ""
    lines = [f"### {title}", "", f"{datetime.date.today()}, {machine()}; {versions(found)}{written}", ""]
    lines += [*engines(found), ""]
    if "error" not in ours:
        lines += [*utilisation(ours), "", *stages(ours["cost"]), ""]
    return "\n".join(lines)


def machine() -> str:
    """Cores, processor, memory, Python."""
    info = Path("/proc/cpuinfo")
    names = [row.split(":", 1)[1].strip() for row in info.read_text().splitlines() if row.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    processor = names[0] if names else platform.machine()
    return f"{cores} cores ({processor}), {memory:.0f} GB, Python {platform.python_version()}"


def versions(found: dict[str, dict]) -> str:
    """Every package that an engine named."""
    known: dict[str, str] = {}
    for result in found.values():
        known |= result.get("versions", {})
    return ", ".join(f"{name} {version}" for name, version in known.items())


def engines(found: dict[str, dict]) -> list[str]:
    """The table of speeds; "faster" is annotation against the row."""
    expert = found.get("expert", {}).get("greedy")
    rate = found.get("annotate", {}).get("questions_per_second")
    lines = [
        "| engine | questions/s | s a question, of 3 passes | annotate is faster by | same greedy answers | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in found.items():
        if "error" in result:
            lines.append(f"| {name} | failed | | | | {result['error'].replace('|', ' ')} |")
            continue
        speed = result["questions_per_second"]
        seconds = ", ".join(f"{each:.3g}" for each in sorted(result["seconds_per_question"]))
        faster = f"{rate / speed:.1f}" if rate else ""
        lines.append(f"| {name} | {speed:.3g} | {seconds} | {faster} | {same(result, expert)} | {result['note']} |")
    return lines


def same(result: dict, expert: list | None) -> str:
    """How many greedy answers equal the expert's, over the questions that both were asked."""
    if expert is None or "greedy" not in result:
        return ""
    pairs = [
        (one, other)
        for ours, theirs in zip(result["greedy"], expert, strict=True)
        for question, asked in zip(ours, theirs, strict=False)
        for one, other in zip(question, asked, strict=True)
    ]
    return f"{sum(one == other for one, other in pairs)} of {len(pairs)}"


def utilisation(ours: dict) -> list[str]:
    """What annotation reached of the machine."""
    floor, number = ours["floor"], ours["questions"]
    parts = ", ".join(f"{part} {floor[part] / number / 1e9:.3g}" for part in ("linear", "attention", "head"))
    return [
        f"{number} questions annotated. One forward pass over their prompts and gold answers takes"
        f" {ours['floor_flops_per_question'] / 1e9:.3g} GFLOP a question ({parts};"
        f" {floor['own_tokens'] / number:.0f} own and {floor['prefix_tokens'] / number:.0f} prefix tokens,"
        f" {floor['judged_positions'] / number:.0f} judged positions); a large matmul ran at"
        f" {ours['matmul_flops_per_second'] / 1e9:.0f} GFLOP/s in the same process. End to end, files and weights"
        f" included, annotation did that arithmetic at **{ours['share_of_matmul_rate']:.0%}** of this rate; beyond"
        f" {ours['start_seconds']:.1f} s of start-up at **{ours['share_of_matmul_rate_beyond_start']:.0%}**, or"
        f" {ours['questions_per_second_beyond_start']:.3g} questions/s. The first run, which compiles or loads compiled"
        f" programs, took {ours['first_run_seconds']:.1f} s."
    ]


def stages(cost: dict) -> list[str]:
    """summary.json's cost section of the median run, one row per figure."""
    lines = ["| cost, from summary.json | |", "| --- | --- |"]
    for name, value in flat(cost):
        lines.append(f"| {name} | {value:,.4g} |" if isinstance(value, float) else f"| {name} | {value} |")
    return lines


def flat(tree: dict, before: str = ""):
    """(dotted name, value) of every leaf."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
