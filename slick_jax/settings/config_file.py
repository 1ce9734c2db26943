"""From `--config=configs/x.py --config.a.b=value` to a checked `Config`; all mistakes come back in one error."""

import ast
import dataclasses
import difflib
import math
import os
import runpy
import traceback
import types
import typing
from collections.abc import Iterable, Mapping

import ml_collections

from slick_jax.commands import COMMANDS
from slick_jax.config import Config
from slick_jax.errors import InputError, short
from slick_jax.models import hub
from slick_jax.settings.rules import problems as rule_problems
from slick_jax.settings.setting_docs import settings

Settings = typing.TypeVar("Settings")
USAGE = "give --config=configs/<file>.py, then overrides such as --config.data.limit=200"


def load_config(argv: list[str], command: str = "") -> Config:
    """The config of a command line: a Python file with `get_config()`, then overrides, the last one winning.

    Raises one InputError that lists every unknown setting, wrong type, value out of range, unknown choice and
    conflict, and what `command` still needs.
    """
    file, overrides, problems = _arguments(argv, COMMANDS[command].flags if command else {})
    return _accepted(*_read(file, overrides, command, problems, "on the command line"))


def examined(argv: list[str]) -> tuple[Config, list[str]]:
    """The config of a command line of `slick validate`, and all that is wrong with its settings whatever the command;
    one of a wrong type has its default. Raises InputError where there is no such file, or its code fails."""
    file, overrides, problems = _arguments(argv, COMMANDS["validate"].flags)
    return _read(file, overrides, "", problems, "on the command line")[:2]


def read_config(file: str | None, overrides: Mapping[str, object], command: str = "") -> Config:
    """The config of a Python file with `get_config()` (None: the defaults), and `overrides` by setting, which win.

    A text given for a setting of another type is read as on the command line. Raises as `load_config` does.
    """
    return _accepted(*_read(file, overrides, command, [], "in the call"))


def _accepted(config: Config, problems: list[str], file: str) -> Config:
    if problems:
        count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise InputError.of(problems, f"{file}: {count} in the config")
    return config


def _read(
    file: str | None, overrides: Mapping[str, object], command: str, problems: list[str], where: str
) -> tuple[Config, list[str], str]:
    """`problems`: those found so far; `where` the overrides were set, for messages."""
    tree, places = {} if file is None else _run_file(file), {}
    for name, value in overrides.items():
        kind = _type_of(name)
        if isinstance(kind, str):
            problems.append(f"config.{name}: {kind} (set {where})")
            continue
        try:
            _assign(tree, name, _parse(value, kind) if isinstance(value, str) else _convert(value, kind))
            places[name] = where
        except ValueError:
            problems.append(f"config.{name}: {short(value)} is not {_describe(kind)} (set {where})")
    config = _build(Config, tree, "", lambda name: places.get(name, f"in {file}"), problems)
    problems += rule_problems(config, command)
    if problems:  # the model is read later; where that is not to be, it is told now
        problems += hub.problems(config, command)
    return config, problems, file or "settings"


def settings_of(cls: type[Settings], tree: object, group: str, where: str) -> Settings:
    """The settings of `group` from the JSON of an earlier run, `where`; what it lacks has its default.

    Raises one InputError that lists every setting that there is not, or not of this type.
    """
    if not isinstance(tree, dict):
        raise InputError(f"{where}: holds no settings; give the folder of a run of this version of slick_jax")
    problems: list[str] = []
    made = _build(cls, tree, f"{group}.", lambda name: "there", problems)
    if problems:
        raise InputError.of(problems, f"{where}: not settings of this version of slick_jax; run it again")
    return made


def _arguments(argv: list[str], flags: dict[str, str]) -> tuple[str, dict[str, str], list[str]]:
    """(config file, overrides by setting, complaints about the rest); flags: setting of every flag besides --config."""
    file, overrides, problems = "", {}, []
    for argument in argv:
        name, equals, value = argument.partition("=")
        if name == "--config" and value:
            file = value
        elif name.startswith("--config.") and equals:
            overrides[name.removeprefix("--config.")] = value
        elif name in flags and (equals or _type_of(flags[name]) is bool):
            overrides[flags[name]] = value if equals else "true"
        else:
            problems.append(f"{argument}: not understood; {_nearest_flag(name, flags) or USAGE}")
    if not file:
        raise InputError.of([f"--config is missing; {USAGE}", *problems])
    return file, overrides, problems


def _nearest_flag(name: str, flags: Iterable[str]) -> str:
    """The question whether a flag of nearly this name was meant, or ''."""
    meant = f"config.{name.lstrip('-')}"
    if meant.removeprefix("config.") in settings():
        return f"did you mean --{meant}=<value>?"
    close = difflib.get_close_matches(name, ["--config", *flags, *(f"--config.{one}" for one in settings())], 1)
    return f"did you mean {close[0]}=<value>?" if close else ""


def _run_file(file: str) -> dict:
    """The settings that the file's `get_config()` returns, as nested dicts."""
    if not os.path.isfile(file):
        raise InputError(f"--config={file}: no such file; {USAGE}")
    try:
        made = runpy.run_path(file)
        found = made["get_config"]() if "get_config" in made else None
        tree = found.to_dict() if isinstance(found, ml_collections.ConfigDict) else None
    except InputError:
        raise
    except Exception as error:  # the file is the user's code: whatever it raises is reported with its line
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 1
        raise InputError(f"{file}:{line}: the config file failed with {type(error).__name__}: {error}") from error
    if tree is None:
        raise InputError(f"{file}: needs get_config() returning a ConfigDict; start from slick_jax.config.defaults()")
    return tree


def _type_of(name: str) -> object:
    """The type of a dotted setting, or a text saying why it has none."""
    kind = Config
    parts = name.split(".")
    for depth, part in enumerate(parts):
        if not dataclasses.is_dataclass(kind):
            return f"no such setting; config.{'.'.join(parts[:depth])} is a value, not a group"
        hints = typing.get_type_hints(kind)
        if part not in hints:
            return _unknown(part, hints)
        kind = hints[part]
    if dataclasses.is_dataclass(kind):
        return f"is a group; set one of {', '.join(typing.get_type_hints(kind))}"
    return kind


def _unknown(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    close = close or [one for one in settings() if one.endswith(f".{name}")][:3]  # of another group
    if close:
        return f"no such setting; did you mean {' or '.join(close)}?"
    return f"no such setting; there are {', '.join(known)}"


def _assign(tree: dict, name: str, value: object) -> None:
    *groups, leaf = name.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            return  # the file put a value where a group belongs; _build says so
    tree[leaf] = value


def _parse(text: str, kind: object) -> object:
    """A command-line text as a value of `kind`; ValueError when it is none."""
    if isinstance(kind, types.UnionType):
        if text.lower() == "none":
            return None
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    if kind is str:
        return _convert(text, kind)
    if kind is bool:
        if text.lower() not in _BOOLS:
            raise ValueError
        return _BOOLS[text.lower()]
    if kind in (int, float):
        return _convert(kind(text), kind)
    if typing.get_args(kind)[0] is str and text[:1] not in ("(", "["):
        return _convert([part.strip() for part in text.split(",") if part.strip()], kind)
    if typing.get_args(kind)[0] is int and text[:1] not in ("(", "["):
        return _convert([int(part) for part in text.split(",") if part.strip()], kind)
    try:
        return _convert(ast.literal_eval(text), kind)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:  # the last two: nested too deeply
        raise ValueError(str(error)) from error


_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def _build(cls: type, tree: dict, prefix: str, place: typing.Callable[[str], str], problems: list[str]):
    """`cls` from nested dicts; settings that are unknown or of a wrong type go to `problems` and keep their default."""
    hints, values = typing.get_type_hints(cls), {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in hints:
            problems.append(f"config.{name}: {_unknown(str(key), hints)} (set {place(name)})")
        elif dataclasses.is_dataclass(hints[key]):
            if isinstance(value, dict):
                values[key] = _build(hints[key], value, f"{name}.", place, problems)
            else:
                problems.append(f"config.{name}: is a group of settings, found {short(value)} (set {place(name)})")
        else:
            try:
                values[key] = _convert(value, hints[key])
            except ValueError:
                found = f"{short(value)} is {type(value).__name__}, not"
                problems.append(f"config.{name}: {found} {_describe(hints[key])} (set {place(name)})")
    return cls(**values)


def _convert(value: object, kind: object) -> object:
    """`value` as `kind`, where that loses nothing (an int for a float, a list for a tuple); else ValueError.

    Whole numbers have 64 bits, other numbers are finite, texts are Unicode without NUL: so they can be kept as JSON.
    """
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError
        inner = typing.get_args(kind)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(value):
            raise ValueError
        return tuple(_convert(one, of) for one, of in zip(value, kinds, strict=True))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError
    if kind is float and not math.isfinite(value):
        raise ValueError
    if kind is str and ("\0" in value or any("\ud800" <= one <= "\udfff" for one in value)):
        raise ValueError
    return value


def _describe(kind: object) -> str:
    """A type in words."""
    if isinstance(kind, types.UnionType):
        return " or ".join("None" if one is type(None) else _describe(one) for one in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        examples = {str: "texts such as train,test", int: "whole numbers such as 0,50,100"}
        return examples.get(inner[0], "pairs such as ((0.5, 40), (1.0, 40))")
    return {str: "a text", int: "a whole number", float: "a number", bool: "True or False"}[kind]
