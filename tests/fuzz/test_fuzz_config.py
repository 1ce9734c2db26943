"""Command lines and config trees: what is taken is what was written, and can be kept and read back."""

import ast
import dataclasses
import json
import math
import types
import typing
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slick_jax.commands import COMMANDS
from slick_jax.config import Config
from slick_jax.settings.config_file import load_config, settings_of
from tests.fuzz.fuzzing import attempt, changed, inputs, json_values, texts


def _settings(cls, prefix=""):
    for name, kind in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(kind):
            yield from _settings(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


SETTINGS = dict(_settings(Config))
DEFAULTS = dataclasses.asdict(Config())
PLAIN = {
    str: ("", "squad", "x", "all", "train", "10%", "1-12,every 4,last", "a/b@main", "500"),
    bool: ("True", "false", "1", "0", "yes"),
    int: ("0", "1", "12", "-1", "1_000", "4294967295", "9" * 30, "1.0", " 3 ", "None"),
    float: ("0", "0.5", "1", "1e-4", "-1", "nan", "inf", "1e400", "1e-400", "0.1_0", "None"),
    tuple: (
        "", "train", "train,test", "0,50,100", "(1, 2)", "[0, 1]", "('a', 'b')", "((0.5, 40), (1.0, 40))", "((1, 2),)",
        "(1,", "(" * 500, "{}", "('a' 'b')", "(0x" + "f" * 5000 + ",)", f"((1{'0' * 400}, 40),)", "(1e999,)", "(True,)",
        "((0.5, 40, 1),)", "(None,)", "(b'a',)", "('\\ud800',)", "(-1,)",
    ),
}  # fmt: skip


def _flat(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# What a command line says to leave a setting as it is, where that can be said.
DEFAULT_TEXTS = {name: (str(value),) for name, value in _flat(DEFAULTS)}


def _plain(kind):
    """The class a setting's values are of, without None."""
    if isinstance(kind, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    return typing.get_origin(kind) or kind


@st.composite
def overrides(draw):
    """(setting, text) pairs: known settings with values of their kind, odd ones, and names that there are not."""
    name = draw(st.sampled_from(sorted(SETTINGS)))
    usual = DEFAULT_TEXTS.get(name, ()) or PLAIN[_plain(SETTINGS[name])]
    value = draw(st.sampled_from(usual) | st.sampled_from(PLAIN[_plain(SETTINGS[name])]) | texts)
    odd = draw(st.integers(0, 19))
    if odd == 0:
        name = draw(texts)
    elif odd == 1:
        close = (name + "x", name[:-1], name + ".x", name.rpartition(".")[0], name.upper(), "." + name)
        name = draw(st.sampled_from(close))
    return name, value


def _numbers(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    yield from [value] if isinstance(value, float) else []
    for one in inner:
        yield from _numbers(one)


def _reading(text, kind):
    """What the text of a setting means, without the code under test."""
    if isinstance(kind, types.UnionType) and text.lower() == "none":
        return None
    plain = _plain(kind)
    if plain is tuple:
        if text[:1] in ("(", "["):
            return _tuples(ast.literal_eval(text))
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(parts if typing.get_args(kind)[0] is str else map(Decimal, parts))
    return {str: text, bool: text.lower() in ("true", "1")}.get(plain) if plain in (str, bool) else Decimal(text)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _same(value, meant):
    if isinstance(meant, Decimal):
        return isinstance(value, int | float) and (value == meant or value == float(meant))
    if isinstance(meant, tuple):
        return len(value) == len(meant) and all(map(_same, value, meant))
    return value == meant


def _check_kept(config):
    """The config can be written into a run folder and read back as it was."""
    assert not [one for one in _numbers(dataclasses.asdict(config)) if not math.isfinite(one)]
    kept = json.dumps(dataclasses.asdict(config), allow_nan=False, ensure_ascii=False).encode()
    assert settings_of(Config, json.loads(kept), "", "here") == config


@inputs(250)
@given(st.lists(overrides(), max_size=3), st.just("") | st.sampled_from(sorted(COMMANDS)))
def test_command_lines(root, given_overrides, command):
    argv = [f"--config={root}/configs/base.py", *(f"--config.{name}={text}" for name, text in given_overrides)]
    taken, config = attempt(load_config, argv, command)
    last = dict(given_overrides)
    if not taken:
        return
    _check_kept(config)
    found = dict(_flat(dataclasses.asdict(config)))
    assert last.keys() <= SETTINGS.keys()
    for name, default in _flat(DEFAULTS):
        if name in last:
            assert _same(found[name], _reading(last[name], SETTINGS[name])), name
        else:
            assert found[name] == default, name


TREE = """
import json
import ml_collections

def get_config():
    return ml_collections.ConfigDict(json.load(open({path!r})))
"""


@pytest.fixture(scope="module")
def tree_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    (folder / "tree.py").write_text(TREE.format(path=str(folder / "tree.json")))
    return folder / "tree.py", folder / "tree.json"


@inputs(60, 0.4)
@given(tree=changed(json.loads(json.dumps(DEFAULTS))))
def test_config_files(tree_file, tree):
    file, values = tree_file
    values.write_text(json.dumps(tree))
    taken, config = attempt(load_config, [f"--config={file}"])
    if taken:
        _check_kept(config)


@inputs(60, 0.4)
@given(changed(json.loads(json.dumps(DEFAULTS))) | json_values)
def test_settings_of_an_earlier_run(tree):
    taken, config = attempt(settings_of, Config, tree, "", "config.json")
    if taken:
        _check_kept(config)
