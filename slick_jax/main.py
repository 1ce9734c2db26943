"""`slick <command> --config=configs/x.py --config.a.b=value`: finds the command and hands it the checked config."""

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from slick_jax import __version__, command_help
from slick_jax.commands import BROWSE, COMMANDS
from slick_jax.compilation import use_compilation_cache
from slick_jax.config import Config
from slick_jax.errors import InputError, Stopped
from slick_jax.files import stores
from slick_jax.garbage import collect_rarely
from slick_jax.models import hub
from slick_jax.processes import joining, signals
from slick_jax.settings.config_file import examined, load_config


def main(argv: list[str] | None = None) -> int:
    """Runs one command line (without the program's name).

    Exit status: 0; 2 for bad input; 75 when a signal or another process stopped it, 130 when the keyboard did, 141 when
    its output was no longer read; commands that resume go on from there.
    """
    status = 1
    try:
        status = _main(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141  # as a shell reports SIGPIPE
        return status
    finally:
        beside = sys.modules.get("slick_jax.processes.peers")  # there once a command has imported it, with JAX
        if beside is not None:
            beside.leave(status)


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(f"slick_jax {__version__}")
        return 0
    command, *rest = arguments
    try:
        if command not in COMMANDS | BROWSE:
            raise InputError(f"no command {command!r}; {nearest(command)}")
        if any(one in ("-h", "--help") for one in rest):
            print(command_help.of_command(command, (COMMANDS | BROWSE)[command].does))
            return 0
        if command in BROWSE:
            importlib.import_module(BROWSE[command].place).run(rest)
            return 0
        config, *problems = examined(rest) if command == "validate" else [load_config(rest, command)]
        with signals.noticed() as sigterm, sigterm.at_once(f"stopped by SIGTERM{_goes_on(command)}"):
            carry_out(command, config, *problems, imported=collect_rarely)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"{command}: {stopped}", file=sys.stderr)
        return Stopped.STATUS
    except RuntimeError as error:  # jax.errors.JaxRuntimeError is one
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        from slick_jax.memory import hint

        why = str(error).splitlines()[0]
        print(f"error: the device's memory is full ({why}); {hint(command, config)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped{_goes_on(command)}", file=sys.stderr)
        return 130
    return 0


def carry_out(command: str, config: Config, *more: Any, imported: Callable[[], None] = lambda: None) -> Any:
    """Runs a command with its checked config (and `more` arguments), and returns what the command returns.

    Models named by hub id are fetched first; `imported` is called once all modules are there. Raises InputError for bad
    input, Stopped where the same command goes on.
    """
    config = hub.resolve_config(config, command)
    stores.check(config.run_dir)
    use_compilation_cache()  # which imports JAX: bad input has been told before
    joining.join(command, config)  # after the download: processes wait for each other a limited time
    module, _, function = COMMANDS[command].place.partition(":")
    run = getattr(importlib.import_module(module), function or "run")
    imported()
    with stores.within_reach(config.run_dir):
        return run(config, *more)


def nearest(command: str) -> str:
    """What to do about a command that is not known."""
    close = difflib.get_close_matches(command, [*COMMANDS, *BROWSE], 1)
    return f"did you mean `slick {close[0]}`?" if close else f"`slick --help` lists them\n{_usage()}"


def _goes_on(command: str) -> str:
    return "; the same command goes on from here" * (command in COMMANDS and COMMANDS[command].resumes)


def _usage() -> str:
    commands, browsing = ({name: one.does for name, one in table.items()} for table in (COMMANDS, BROWSE))
    return command_help.of_program(commands, browsing)


if __name__ == "__main__":
    sys.exit(main())
