"""Files of a run folder that are cut in the middle: told in one message, and what it says to do leads to the end."""

import re
import shutil
from pathlib import Path

import pytest

from tests.torture.comparing import differences
from tests.torture.killing import attempt

pytestmark = pytest.mark.torture

# What is taken from a finished run first, so that it has something left to do and reads the rest.
LAST = {"annotate": ("annotations.parquet", "summary.json"), "train": ("train/mixed/seed-0/result.json",),
        "longform": ("longform/report", "longform/answers.parquet")}  # fmt: skip
ONE_OF_A_KIND = re.compile(r"\d+|[0-9a-f]{16,}|gold|gen_self")  # of files whose names differ in that one is cut
ROUNDS = 4  # messages that may be followed one after the other


@pytest.mark.parametrize("stage", LAST)
def test_a_cut_file_is_told_and_mended(ground, undisturbed, tmp_path, ledger, stage):
    folder, _ = undisturbed(stage)
    problems, told = [], 0
    for name in kinds(folder):
        run_dir = tmp_path / "run"
        shutil.rmtree(run_dir, ignore_errors=True)
        shutil.copytree(folder, run_dir)
        for last in LAST[stage]:
            shutil.rmtree(run_dir / last) if (run_dir / last).is_dir() else (run_dir / last).unlink()
        path = run_dir / name
        if not path.exists():
            continue
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        said = follow(ground[stage], run_dir)
        told += bool(said)
        found = said[-1] if said and said[-1].startswith("PROBLEM") else differences(folder, run_dir)
        unread = not said and all(name.startswith(line.partition(": ")[0]) for line in found)  # nobody's loss
        if found and not unread:
            problems.append((name, said, found))
        ledger.note(what="cut", stage=stage, file=name, said=said, unread=bool(found) and unread)
    assert not problems, "\n".join(map(str, problems))
    assert told


def kinds(folder):
    """A path of each kind of file that the stage has written, relative to the folder; empty ones cannot be cut."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size > 1 and path.parent.name != "mixtures":
            name = str(path.relative_to(folder))
            seen.setdefault(ONE_OF_A_KIND.sub("N", name), name)
    return list(seen.values())


def follow(stage, run_dir):
    """Run, do what each message says, until the run ends; the messages."""
    said = []
    for _ in range(ROUNDS):
        one = attempt(stage, run_dir)
        if one.finished:
            return said
        begun = list(re.finditer(r"^error: ", one.said, re.MULTILINE))
        message = one.said[begun[-1].start() :].strip() if begun else ""
        noise = "this checkpoint cannot be read" in message  # Orbax's threads print what they were doing
        if one.statuses != [2] or not message or ("Traceback" in one.said and not noise):
            return [*said, f"PROBLEM: status {one.statuses}, {one.said[-1500:]}"]
        said.append(message.replace(str(run_dir), "."))
        if not mend(message, run_dir):
            return [*said, f"PROBLEM: no remedy understood: {message[-1500:]}"]
    return [*said, "PROBLEM: more and more messages"]


def mend(message, run_dir):
    """Remove what a message asks to remove: paths of the run folder behind the word, or else the one it begins with."""
    place = re.escape(str(run_dir))
    named = re.findall(rf"{place}[^\s:;,()]*", message)
    if "remove" not in message or not named:
        return False
    behind = re.findall(rf"{place}[^\s:;,()]*", message[message.index("remove") :])
    for path in map(Path, behind or named[:1]):
        if path == Path(run_dir):
            return False
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return True
