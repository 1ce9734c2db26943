"""Whether the commands that a page shows are commands: programs, targets, files, settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from slick_jax.commands import BROWSE, COMMANDS
from slick_jax.settings.config_file import load_config
from tests.conftest import ROOT

LAUNCHERS = ("launch/local.sh", "launch/tpu_pod.sh", "launch/slurm.sbatch")
OTHERS = ("curl", "rm", "sed", "kubectl", "wait", "done", "for")  # nothing of this project
ENDS = ("&&", "||", "|", ";", "&")


def statements(text: str) -> Iterator[list[str]]:
    """The words of every command of a shell text, without `do` and assignments, which later lines are read with."""
    known: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], "0"), line)
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if word in ENDS:
                while words and (words[0] == "do" or re.match(r"[A-Za-z_]+=", words[0])):
                    name, _, value = words.pop(0).partition("=")
                    known[name] = value
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def check(words: list[str]) -> None:
    """Fails where a command is none of this project's, or not as this project has it."""
    program, *rest = words
    if program == "sbatch":
        program, *rest = rest[[word.startswith("--") for word in rest].index(False) :]
    if program in LAUNCHERS:
        assert (ROOT / program).is_file(), program
        program = "slick"
    match program.removeprefix(".venv/bin/"):
        case "slick":
            check_slick(*rest)
        case "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(rest) <= set(targets), rest
        case "pip":
            assert rest[:4] == ["install", "-c", "constraints.txt", "-e"], rest
            extras = set(re.findall(r"[\w-]+", rest[4].removeprefix(".")))
            assert extras <= set(re.findall(r'^        "([\w-]+)": \[', (ROOT / "setup.py").read_text(), re.MULTILINE))
        case "python" | "python3":
            named = [word for word in rest if word.endswith(".py")]
            assert rest[:1] == ["-c"] or rest[:2] == ["-m", "venv"] or named, rest
            assert all((ROOT / name).is_file() for name in named), named
            if rest[:1] == ["-c"]:
                compile(rest[1], "shown", "exec")
        case ".":
            assert rest == [".venv/bin/activate"]
        case other:
            assert other in OTHERS, f"{other}: is it a program that readers have? Then name it in {__name__}"


def check_slick(command: str, *arguments: str) -> None:
    """Fails where there is no such command, or InputError where its config has not these settings."""
    assert command in {**COMMANDS, **BROWSE}, command
    if command in COMMANDS and "--help" not in arguments:
        load_config(list(arguments), command)
