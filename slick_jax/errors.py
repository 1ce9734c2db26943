"""Exceptions the command line knows: bad input (status 2, no traceback) and work stopped by a signal (status 75)."""


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
