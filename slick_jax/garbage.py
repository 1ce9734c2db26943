"""How often Python looks for reference cycles."""

import gc

YOUNG, MIDDLE, OLD = 50_000, 50, 100  # objects, or collections of the younger generation, between two looks


def collect_rarely() -> None:
    """Let the garbage collector leave alone what is there by now, imports above all, and look at the rest rarely.

    Verification makes and drops hundreds of small objects a question, hardly any of them in a cycle; with Python's own
    thresholds a fifth of the time of `slick annotate` goes to looking at them again and again.
    """
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
