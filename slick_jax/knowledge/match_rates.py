"""Exact match of groups of questions, whole and per category and relation, as CLU metrics."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from clu import metrics

from slick_jax.knowledge.greedy import Answered, Asked


@jax.jit
def _averages(
    hits: jax.Array, places: dict[str, jax.Array], numbers: dict[str, jax.Array]
) -> dict[str, metrics.Average]:
    """Of every kind, the averages of `hits` over the rows with each of its numbers, stacked as CLU stacks metrics.

    hits: float32[N]; places: the rows' numbers int32[N] by kind; numbers: int32[G] by kind, G averages.
    """
    average = jax.vmap(lambda place, number: metrics.Average.from_model_output(hits, place == number), (None, 0))
    return {kind: average(places[kind], numbers[kind]) for kind in numbers}


class MatchRates:
    """Exact match of groups of questions, whole and per category and relation, as CLU averages.

    They are computed by a program that is compiled once for all groups, which are padded to the largest, and whose size
    does not hang on the number of relations.
    """

    def __init__(self, groups: Mapping[str, Sequence[Asked]]):
        rows = [row for group in groups.values() for row in group]
        self._names = {
            "category": sorted({row.category for row in rows} - {""}),
            "relation": sorted({row.relation for row in rows}),
        }
        size = max(map(len, groups.values()))
        self._places = {name: self._number(group, size) for name, group in groups.items()}
        self._numbers = {kind: np.arange(len(names), dtype=np.int32) for kind, names in self._names.items()}
        self._numbers["there"] = np.zeros(1, np.int32)

    def __call__(self, name: str, answered: Answered) -> dict:
        """{em, n, abstained, by_category: {category: {em, n}}, by_relation: ...} of group `name`."""
        places = self._places[name]
        hits = np.zeros(len(places["there"]), np.float32)
        hits[: len(answered.hits)] = answered.hits[:, 1]
        found = jax.device_get(_averages(*jax.device_put((hits, places, self._numbers))))
        (whole,) = _rates(found["there"])
        out = whole | {"abstained": float(answered.abstained.mean())}
        for kind, names in self._names.items():
            rates = zip(names, _rates(found[kind]), strict=True)
            out[f"by_{kind}"] = {one: rate for one, rate in rates if rate["n"]}
        return out

    def _number(self, group: Sequence[Asked], size: int) -> dict[str, np.ndarray]:
        places = {"there": np.full(size, -1, np.int32)}
        places["there"][: len(group)] = 0
        for kind, names in self._names.items():
            number = {one: place for place, one in enumerate(names)}
            places[kind] = np.full(size, -1, np.int32)
            places[kind][: len(group)] = [number.get(getattr(row, kind), -1) for row in group]
        return places


def _rates(stacked: metrics.Average) -> list[dict]:
    pairs = zip(stacked.total.tolist(), stacked.count.tolist(), strict=True)
    return [{"em": total / count if count else 0.0, "n": int(count)} for total, count in pairs]
