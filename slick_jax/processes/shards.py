"""Shares of a study's runs (`slick study --shard=i/n`), the same in every process that is given the same numbers."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence


def problems(text: str) -> Iterator[str]:
    """What is wrong with the shard that is asked for, if anything is."""
    if not text:
        return
    if not re.fullmatch(r"\d{1,9}/\d{1,9}", text):
        yield f"study.shard: {text!r} is no i/n, such as 0/8 for the first of eight shares (SLURM: {_ARRAY})"
        return
    number, count = parse(text)
    if not count:
        yield f"study.shard: {text!r} shares the runs among no one; give i/n with n of 1 or more"
    elif number >= count:
        yield (
            f"study.shard: {text!r}, but shares count from 0: the last of {count} is {count - 1}/{count}; an array of"
            f" {count} tasks is --array=0-{count - 1}"
        )


_ARRAY = "--shard=$SLURM_ARRAY_TASK_ID/8 in an --array=0-7"


def parse(text: str) -> tuple[int, int]:
    """'i/n' as (i, n)."""
    number, count = text.split("/")
    return int(number), int(count)


def share(costs: Sequence[float], number: int, count: int) -> list[int]:
    """Places of the items of share `number` of `count`, in order; all shares together have each item once.

    The dearest item that is left goes to the share with the least to do (Graham's LPT rule: no share takes longer than
    4/3 of the best division), among equals the one of the lowest number.
    """
    loads = [(0.0, place) for place in range(count)]
    taken = []
    for item in sorted(range(len(costs)), key=lambda item: (-costs[item], item)):
        load, place = heapq.heappop(loads)
        if place == number:
            taken.append(item)
        heapq.heappush(loads, (load + costs[item], place))
    return sorted(taken)
