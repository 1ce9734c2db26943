"""Which epochs a setting such as '1-12,every 4,last' names, and from which epoch training examples count as fitted."""

import re
from collections.abc import Iterable

FORMS = "'all', 'none', or a list such as '1-12,every 4,last'"
STOPS = ("EARLY_STOP", "CONVERGENCE")  # epochs that are reported: the best on dev, and the last
KEYS_OF_STOPS = {stop: stop.lower() for stop in STOPS}  # in result.json
MAX_EPOCHS = 100_000  # of a run
FIT_PERCENTS = (50, 90)  # half and nearly all of a group: the two epochs to fit that are reported


def parse_epochs(text: str, epochs: int) -> frozenset[int]:
    """The epochs, from 1 to `epochs`, that `text` names.

    Parts are separated by commas: `all`, `none`, `last`, a number, a range `a-b`, and `every k` (k, 2k, ...). Numbers
    past the end name nothing, so that one setting serves runs of any length. Raises ValueError for anything else.
    """
    chosen: set[int] = set()
    for part in text.split(","):
        chosen |= _part(part.strip().lower(), text, epochs)
    return frozenset(chosen & set(range(1, epochs + 1)))


def fit_epoch(counts: Iterable[tuple[int, int, int]], percent: int) -> int | None:
    """The first epoch after which `percent` of a group of training examples are right; None where there is none.

    counts: (epoch, right, n) of the evaluated epochs in any order. Right and n are whole, so rounding misses no share.
    """
    return min((epoch for epoch, right, n in counts if n and 100 * right >= percent * n), default=None)


def _part(part: str, text: str, epochs: int) -> set[int]:
    named = {"all": set(range(1, epochs + 1)), "none": set(), "last": {epochs}}
    if part in named:
        return named[part]
    every = re.fullmatch(r"every (\d+)", part)
    if every and int(every[1]):
        return set(range(int(every[1]), epochs + 1, int(every[1])))
    span = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", part)
    if span and 1 <= int(span[1]) <= int(span[2] or span[1]):
        return set(range(int(span[1]), min(int(span[2] or span[1]), epochs) + 1))
    raise ValueError(f"{text!r} is not understood at {part!r}; give {FORMS}")
