"""The one exception for bad input. The command line prints it without a traceback and exits with status 2."""


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
