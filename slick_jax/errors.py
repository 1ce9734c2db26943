"""Exceptions the command line knows: bad input (status 2, no traceback) and work stopped by a signal (status 75)."""

import reprlib
from typing import Any


class InputError(ValueError):
    """Bad input from the user: the message names the place (file:line or setting), what is wrong, and what to do.

    Several problems found together are joined with `InputError.of`, one line each.
    """

    @classmethod
    def of(cls, problems: list[str], heading: str = "") -> "InputError":
        """One error for all `problems`, under an optional heading line."""
        lines = [f"  - {problem}" for problem in problems]
        if len(problems) == 1 and not heading:
            return cls(problems[0])
        return cls("\n".join([heading, *lines] if heading else lines))


class Stopped(Exception):
    """A signal, or the end of another process, stopped the work; everything done is saved, and the same command goes on
    from there."""

    STATUS = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, run it again


def not_finite(what: str, so: str) -> InputError:
    """Of numbers that a model computed: `what` is NaN or infinite, `so` that something cannot be done."""
    return InputError(
        f"model: {what} is NaN or infinite, so {so}; check the checkpoint's weights, or set model.dtype=float32 if they"
        " overflow in bfloat16"
    )


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 4000 else f"<a number of {x.bit_length()} bits>"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 4, 80, 80, 40


def short(value: Any) -> str:
    """`value` as an error message shows it: at most 80 characters, however large or deeply nested it is."""
    text = _SHORT.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
