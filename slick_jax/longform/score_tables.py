"""The tables of the report: metrics by arm and domain, differences between arms, by how known, and across domains."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from slick_jax.longform.arms import BASE
from slick_jax.longform.scores import METRICS, Scores, row_of

GROUPS = 3  # of entities, where exposure has more than MOST_LEVELS values, or is not known
MOST_LEVELS = 5
LEVELS = ("little known", "known in part", "well known")


def by_arm(scores: Scores) -> pd.DataFrame:
    """domain, arm, metric, value, low, high, seeds, entities: every arm on the domain that it was trained on, but for
    metrics that the domain has none of."""
    rows = []
    for domain, arm, metric in itertools.product(scores.domains, scores.arms, METRICS):
        found = scores.estimate(metric, arm, domain)
        if found is not None and not (metric == "parsed" and np.isnan(found.value)):  # it has no grammar
            head = {"domain": domain, "arm": arm, "metric": metric}
            rows.append({**head, **row_of(found), "entities": len(scores.entities[domain])})
    return pd.DataFrame(rows)


def differences(
    scores: Scores, metrics: tuple[str, ...] = ("precision", "precision_micro", "factscore")
) -> pd.DataFrame:
    """domain, one, other, metric, value (one minus other), low, high, seeds: of all pairs of arms."""
    rows = []
    for domain, metric in itertools.product(scores.domains, metrics):
        for other, one in itertools.combinations(scores.arms, 2):
            found = scores.difference(metric, one, other, domain)
            if found is not None:
                rows.append({"domain": domain, "one": one, "other": other, "metric": metric, **row_of(found)})
    return pd.DataFrame(rows)


def transfer(scores: Scores, metric: str = "precision") -> pd.DataFrame:
    """arm, trained_on, domain (tested on), value, low, high, seeds: what training on one domain does in another."""
    found = scores.answers[scores.answers["arm"] != BASE]
    trained = list(dict.fromkeys([*scores.domains, *found["trained_on"]]))
    rows = []
    for arm, source, domain in itertools.product(scores.arms, ["", *trained], scores.domains):
        if (arm == BASE) == (source == ""):
            value = scores.estimate(metric, arm, domain, trained_on=source)
            if value is not None:
                rows.append({"arm": arm, "trained_on": source, "domain": domain, "metric": metric, **row_of(value)})
    return pd.DataFrame(rows)


def by_knowledge(scores: Scores, metrics: tuple[str, ...] = ("precision", "claims")) -> pd.DataFrame:
    """domain, by, group, order, entities, arm, metric, value, low, high, seeds: the arms on groups of entities."""
    rows = []
    for domain in scores.domains:
        by, groups = knowledge(scores, domain)
        for order, group in enumerate(dict.fromkeys(groups.sort_values().dropna())):
            among = (groups == group).to_numpy()
            head = {"domain": domain, "by": by, "group": str(group), "order": order, "entities": int(among.sum())}
            for arm, metric in itertools.product(scores.arms, metrics):
                found = scores.estimate(metric, arm, domain, among=among)
                if found is not None:
                    rows.append({**head, "arm": arm, "metric": metric, **row_of(found)})
    return pd.DataFrame(rows)


def knowledge(scores: Scores, domain: str) -> tuple[str, pd.Series]:
    """How well the model may know each entity of a domain: by what, and an ordered group per row of its entities.

    By exposure where that is known of any, each value a group or, of many, thirds of the entities; else by the
    precision of BASE's answers, in thirds, equal ones together. The latter flatters BASE where it is best and blames it
    where it is worst, as it was grouped by the same answers. Without either: all NaN.
    """
    rows = scores.entities[domain]
    exposure = rows["exposure"]
    if exposure.notna().any():
        exposure = exposure.dropna()
        if exposure.nunique() <= MOST_LEVELS:
            levels = [str(int(value)) for value in sorted(set(exposure))]
            found = pd.Categorical(exposure.astype(int).astype(str), levels, ordered=True)
            return "exposure", pd.Series(found, exposure.index).reindex(rows.index)
        return "exposure", _ranges(exposure.astype(float)).reindex(rows.index)
    base = scores.answers[(scores.answers["arm"] == BASE) & (scores.answers["domain"] == domain)]
    precision = rows["entity"].map(base.groupby("entity")["precision"].mean())
    ranks = precision.rank(method="average")
    thirds = np.minimum((ranks - 1) * GROUPS // max(precision.notna().sum(), 1), GROUPS - 1)
    names = thirds.map(lambda place: None if pd.isna(place) else LEVELS[int(place)])
    return "precision of BASE", pd.Series(pd.Categorical(names, LEVELS, ordered=True), rows.index)


def _ranges(exposure: pd.Series) -> pd.Series:
    """Groups of about equal size, named by the values they hold: '1-4'; equal values are in one group."""
    edges = np.unique(np.quantile(exposure, np.arange(1, GROUPS) / GROUPS, method="higher"))
    place = np.searchsorted(edges, exposure.to_numpy(), side="right")
    names = {}
    for group in sorted(set(place)):
        low, high = exposure[place == group].min(), exposure[place == group].max()
        names[group] = f"{low:.0f}" if low == high else f"{low:.0f}-{high:.0f}"
    found = pd.Categorical([names[group] for group in place], list(names.values()), ordered=True)
    return pd.Series(found, exposure.index)
