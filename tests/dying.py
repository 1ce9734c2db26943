"""`slick` with a process that ends in the middle: it kills, stops or asks itself to stop, when the environment says.

python -m tests.dying <command> <arguments>, with DIES=<moment>:<number>:<signal>: at the number-th time that the moment
is reached, from 1. Moments: `step` (train has looked at a step), `call` (pretrain at some steps), `asks` (train and
evaluate are about to ask all that is due).
"""

import itertools
import os
import signal
import sys

from slick_jax import main


def _when(where: object, name: str, number: int, number_of_signal: int) -> None:
    """Send this process a signal at the `number`-th call of `where.name`."""
    function, calls = getattr(where, name), itertools.count(1)

    def call(*arguments, **named):
        if next(calls) == number:
            os.kill(os.getpid(), number_of_signal)
        return function(*arguments, **named)

    setattr(where, name, call)


def _prepare(moment: str, number: int, name: str) -> None:
    from slick_jax.knowledge.greedy import GreedyEvaluator
    from slick_jax.training import loop, pretrain

    where = {"step": (loop, "_take"), "call": (pretrain, "_report"), "asks": (GreedyEvaluator, "__call__")}[moment]
    _when(*where, number, getattr(signal, name))


if __name__ == "__main__":
    join = main.joining.join

    def joined(*arguments):
        join(*arguments)
        if os.environ.get("DIES"):
            moment, number, name = os.environ["DIES"].split(":")
            _prepare(moment, int(number), name)

    main.joining.join = joined
    sys.exit(main.main(sys.argv[1:]))
