"""Exact match of groups of questions, whole and per category and relation, as one CLU metric collection."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from clu import metrics

from slick_jax.knowledge.greedy import Answered, Asked


def _average_of(name: str, place: int) -> Any:
    """A masked average of `hits` over the rows whose number in the index array `name` is `place`; -1 is no row."""
    return metrics.Average.from_fun(lambda **outputs: {"values": outputs["hits"], "mask": outputs[name] == place})


class MatchRates:
    """Exact match of groups of questions, whole and per category and relation, as one CLU metric collection.

    Its update is compiled once for all groups: they are padded to the largest.
    """

    def __init__(self, groups: Mapping[str, Sequence[Asked]]):
        rows = [row for group in groups.values() for row in group]
        self._names = {
            "category": sorted({row.category for row in rows} - {""}),
            "relation": sorted({row.relation for row in rows}),
        }
        size = max(map(len, groups.values()))
        self._places = {name: self._number(group, size) for name, group in groups.items()}
        averages = {"whole": _average_of("there", 0)}
        for kind, names in self._names.items():
            averages |= {f"{kind}_{place}": _average_of(kind, place) for place in range(len(names))}
        collection = metrics.Collection.create(**averages)
        self._update = jax.jit(lambda **outputs: collection.single_from_model_output(**outputs))

    def __call__(self, name: str, answered: Answered) -> dict:
        """{em, n, abstained, by_category: {category: {em, n}}, by_relation: ...} of group `name`."""
        places = self._places[name]
        hits = np.zeros(len(places["there"]), np.float32)
        hits[: len(answered.hits)] = answered.hits[:, 1]
        found = jax.device_get(self._update(hits=jax.device_put(hits), **jax.device_put(places)))
        out = _rate(found.whole) | {"abstained": float(answered.abstained.mean())}
        for kind, names in self._names.items():
            rates = {one: _rate(getattr(found, f"{kind}_{place}")) for place, one in enumerate(names)}
            out[f"by_{kind}"] = {one: rate for one, rate in rates.items() if rate["n"]}
        return out

    def _number(self, group: Sequence[Asked], size: int) -> dict[str, np.ndarray]:
        places = {"there": np.full(size, -1, np.int32)}
        places["there"][: len(group)] = 0
        for kind, names in self._names.items():
            number = {one: place for place, one in enumerate(names)}
            places[kind] = np.full(size, -1, np.int32)
            places[kind][: len(group)] = [number.get(getattr(row, kind), -1) for row in group]
        return places


def _rate(average: metrics.Average) -> dict:
    total, count = float(average.total), int(average.count)
    return {"em": total / count if count else 0.0, "n": count}
