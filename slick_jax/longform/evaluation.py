"""The belief of every scorer against the labels: one table of measures, one of reliability, for each source apart.

Gold texts and the model's own are never pooled: they are other claims, with another share of supported ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from slick_jax.analysis.bootstrap import DRAWS, Estimate
from slick_jax.longform.measures import BINS, Sample


@dataclass(frozen=True)
class Evaluation:
    """measures: a row for each scorer, source and measure: value, low, high, and how many claims of how many entities
    were measured, and left_out for want of a label or belief; reliability: for each bin of belief."""

    measures: pd.DataFrame
    reliability: pd.DataFrame


def evaluate(
    beliefs: pd.DataFrame,
    claims: pd.DataFrame,
    texts: pd.DataFrame,
    entities: pd.DataFrame,
    *,
    splits: Sequence[str] = ("test",),
    threshold: float = 0.5,
    bins: int = BINS,
    draws: int = DRAWS,
    seed: int = 0,
) -> Evaluation:
    """Measures over claims of entities of `splits`, with 95 % intervals over these entities.

    Args:
      beliefs, claims, texts, entities: tables of the schemas in `records`.
      threshold: belief from which on a claim counts as believed.

    Split dev chose the probe's layer and the calibration, and split probe its weights: figures on those flatter.
    """
    keys = texts.set_index("id")["source"], entities.set_index("id")["split"]
    known = claims.assign(source=claims["text_id"].map(keys[0]), split=claims["entity"].map(keys[1]))
    inside = known[known["split"].isin(splits)]
    joined = beliefs.merge(inside, left_on="claim_id", right_on="id", validate="many_to_one")
    measures, reliability, ranks = [], [], {}
    for (scorer, source), rows in joined.groupby(["scorer", "source"], sort=True):
        kept = rows.dropna(subset=["raw", "belief", "supported"])
        left_out = int((inside["source"] == source).sum()) - len(kept)
        which = {"scorer": scorer, "source": source}
        counts = {"claims": len(kept), "entities": kept["entity"].nunique(), "left_out": left_out}
        sample = Sample(
            kept["raw"].to_numpy(), kept["belief"].to_numpy(), kept["supported"].to_numpy(bool),
            kept["entity"].tolist(), draws, seed,
        )  # fmt: skip
        found = sample.estimates(threshold, bins)
        same = ranks.setdefault((source, *sorted(set(kept["entity"]))), {})  # whose draws are of the same entities
        pairs = {f"auroc_minus_{other}": found["auroc"] - auroc for other, auroc in same.items()}
        same[scorer] = found["auroc"]
        measures += [which | counts | {"measure": name} | _told(one) for name, one in (found | pairs).items()]
        for row in sample.reliability(bins):
            reliability.append(which | dict(_flat(row)))
    return Evaluation(pd.DataFrame(measures), pd.DataFrame(reliability))


def _told(found: Estimate, prefix: str = "") -> dict[str, float]:
    low, high = found.interval
    return {f"{prefix}value": found.value, f"{prefix}low": low, f"{prefix}high": high}


def _flat(row: dict) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        yield from _told(value, f"{name}_").items() if isinstance(value, Estimate) else [(name, value)]
