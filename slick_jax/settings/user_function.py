"""Functions of the user's own that a setting names as 'module:function'."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slick_jax.errors import InputError


def load(name: str, setting: str, known: str = "") -> tuple[Callable[..., Any], str]:
    """The function that `name` means, and the SHA-256 of its module's file ('' where it has none): other code is
    another protocol.

    setting: told in errors; known: other values of it. Raises InputError where there is no such function.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise InputError(f"{setting}={name!r}: no such function; use {known and f'{known} or '}'module:function'")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # an installed command does not look there by itself
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may fail in any way
        raise InputError(
            f"{setting}={name!r}: importing {module_name!r} failed ({type(error).__name__}: {error}); "
            "check its spelling and that its folder is on PYTHONPATH"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"{setting}={name!r}: {module_name!r} has no function {function_name!r}")
    file = getattr(module, "__file__", None)
    return function, hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
