"""Whether a study can say anything: enough sentences parse, references support themselves, and neither answers nor
belief are all or nothing."""

from __future__ import annotations

import functools
import math

import pandas as pd

from slick_jax.analysis.bootstrap import Estimate
from slick_jax.longform.arms import BASE
from slick_jax.longform.scores import Scores

PARSED, SUPPORTED, PRECISION, BELIEVED = (95.0, 100.0), (80.0, 100.0), (35.0, 85.0), (20.0, 90.0)


def validity(scores: Scores, sentences: pd.DataFrame | None, belief: pd.DataFrame | None, scorer: str) -> pd.DataFrame:
    """domain, check, value (%), least, most, passed (None where it cannot be computed), reason.

    Args:
      sentences: of the un-tuned model's texts: columns domain and parsed (null where there is no grammar).
      belief: measures of belief: columns domain, source, scorer, measure and value; `believed` and `supported` are
        shares of claims.
      scorer: whose belief filters.
    """
    rows = []
    for domain in scores.domains:
        share = functools.partial(_share, belief, scorer, domain)
        base = scores.estimate("precision", BASE, domain)
        rows += [
            _row(domain, "generated sentences that parse", *_parsed(sentences, domain), PARSED),
            _row(domain, "claims of references that are supported", *share("gold", "supported"), SUPPORTED),
            _row(domain, "precision of BASE", *_precision(base), PRECISION),
            _row(domain, "generated claims that are believed", *share("generated", "believed"), BELIEVED),
        ]
    return pd.DataFrame(rows)


def _row(domain: str, what: str, value: float | None, reason: str, bounds: tuple[float, float]) -> dict:
    least, most = bounds
    passed = None if value is None else bool(least <= value <= most)
    return {
        "domain": domain, "check": what, "value": value, "least": least, "most": most, "passed": passed,
        "reason": reason if value is None else "",
    }  # fmt: skip


def _parsed(sentences: pd.DataFrame | None, domain: str) -> tuple[float | None, str]:
    if sentences is None:
        return None, "no sentences given"
    of = sentences.loc[sentences["domain"] == domain, "parsed"].dropna()
    return (100 * float(of.astype(float).mean()), "") if len(of) else (None, "the domain has no grammar")


def _precision(base: Estimate | None) -> tuple[float | None, str]:
    if base is None:
        return None, "no answers of BASE"
    return (None, "BASE made no claim") if math.isnan(base.value) else (base.value, "")


def _share(
    belief: pd.DataFrame | None, scorer: str, domain: str, source: str, measure: str
) -> tuple[float | None, str]:
    if belief is None or belief.empty:
        return None, "no measures of belief given"
    wanted = {"domain": domain, "source": source, "scorer": scorer, "measure": measure}
    of = belief.loc[(belief[list(wanted)] == pd.Series(wanted)).all(axis=1), "value"].dropna()
    return (100 * float(of.iloc[0]), "") if len(of) else (None, f"no share of {measure} claims of {scorer}")
