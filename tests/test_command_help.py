"""slick --help and slick <command> --help: they cover every command, and what they name exists and runs."""

import pytest

from slick_jax.command_help import HELP
from slick_jax.commands import BROWSE, COMMANDS
from slick_jax.config import Config
from slick_jax.main import main
from slick_jax.settings.config_file import load_config
from slick_jax.settings.setting_docs import settings


def test_what_a_command_asks_for_are_settings():
    for name, one in COMMANDS.items():
        assert {*one.needs, *one.model, *one.flags.values()} <= set(settings()), name


def test_every_command_has_help_and_nothing_else():
    assert set(HELP) == set(COMMANDS) | set(BROWSE)


@pytest.mark.parametrize("command", HELP)
def test_help_teaches(command, capsys, root):
    told = HELP[command]
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert told.purpose.count(". ") in (0, 1, 2, 3) and told.purpose.endswith(".")
    assert f"slick {command} {told.example}" in out and "reads: " in out and "writes: " in out
    assert (root / told.guide).is_file()
    assert max(map(len, out.splitlines())) < 200
    if command in COMMANDS:
        assert 3 <= len(set(told.settings)) <= 5  # fewer where a command reads fewer
        for name in told.settings:
            assert f"--config.{name}\n" in out and settings()[name].meaning.split()[0] in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_config_that_the_command_takes(command, root, monkeypatch):
    monkeypatch.chdir(root)
    example = HELP[command].example.replace("runs/demo/world/test.jsonl", "README.md")  # a file of the demo
    assert isinstance(load_config(example.split(), command), Config)


def test_help_has_the_short_flags_and_the_defaults_of_the_commands_own_config(capsys, root):
    for command, flag in (("doctor", "[--dry-run]"), ("study", "[--shard=<value>]"), ("validate", "[--for=<value>]")):
        assert main([command, "--help"]) == 0
        assert f"usage: slick {command} --config=" in (out := capsys.readouterr().out) and flag in out
    assert main(["doctor", "--help"]) == 0
    assert f"(default: {load_config([f'--config={root}/configs/doctor.py']).run_dir}," in capsys.readouterr().out


def test_settings_say_what_config_py_says():
    found = settings()
    assert all(one.meaning for one in found.values()), [name for name, one in found.items() if not one.meaning]
    assert found["annotate.temperature"].meaning == "T of the sampled answers"
    assert found["annotate.temperature"].default == 0.5
    assert found["longform.filter.scorer"].default == "probe"


def test_the_program_lists_its_commands(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in (*COMMANDS, *BROWSE)) and "usage: slick <command>" in out


@pytest.mark.parametrize(
    ("typed", "meant"), [("anotate", "annotate"), ("longform-beleifs", "longform-beliefs"), ("sohw", "show")]
)
def test_a_mistyped_command_gives_the_nearest(typed, meant, capsys):
    assert main([typed, "--config=x.py"]) == 2
    assert f"no command {typed!r}; did you mean `slick {meant}`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--config.temperature=1", "config.temperature: no such setting; did you mean annotate.temperature or"),
        ("--config.anotate.seed=1", "did you mean annotate?"),
        ("--data.path=x", "did you mean --config.data.path=<value>?"),
        ("--confg=x.py", "did you mean --config=<value>?"), ("--config.train.epocs=1", "did you mean epochs?"),
    ],
)  # fmt: skip
def test_a_mistyped_setting_gives_the_nearest(typed, meant, root, capsys):
    assert main(["validate", f"--config={root}/configs/demo.py", typed]) == 2
    assert meant in capsys.readouterr().err
