"""The tables of the page: of the numbers in tables/, what a reader looks for first, as text."""

from __future__ import annotations

import pandas as pd

from slick_jax.longform.arms import BASE
from slick_jax.longform.scores import METRICS, Scores

SHOWN = ("precision", "parsed", "precision_micro", "factscore", "supported", "unsupported", "tokens", "abstained")
PAIRS = (("GEN+SELF", "GOLD"), ("GEN+SELF", "GEN+GOLD"), ("GEN+SELF", "GOLD+SELF"), ("GEN+SELF", "GEN+RANDOM"),
         ("GOLD+SELF", "GOLD"), ("GOLD+SELF", "GOLD+RANDOM"), ("GEN+SELF", BASE), ("GOLD", BASE))  # fmt: skip


def _cell(value: float, low: float, high: float, digits: int = 1) -> str:
    """'71.3 [69.0, 73.5]'; without the brackets where there is no interval."""
    if pd.isna(value):
        return "–"
    one, least, most = (f"{round(number, digits) + 0.0:.{digits}f}" for number in (value, low, high))  # no '-0.0'
    return one + ("" if pd.isna(low) else f" [{least}, {most}]")


def arms(scores: Scores, table: pd.DataFrame, gamma: float) -> list[tuple[str, pd.DataFrame]]:
    """A table per domain, arms down and metrics across."""
    made = []
    for domain in scores.domains:
        rows = []
        for arm in scores.arms:
            own = table[(table["domain"] == domain) & (table["arm"] == arm)].set_index("metric")
            if own.empty:
                continue
            row = {"arm": arm, "seeds": int(own["seeds"].iloc[0]) if arm != BASE else "–"}
            for metric in (one for one in SHOWN if one in own.index):
                one, values = METRICS[metric], own.loc[metric]
                unit = f" ({one.unit})" if one.unit == "%" else ""
                head = one.what.format(gamma=gamma) + unit
                row[head] = _cell(values["value"], values["low"], values["high"])
            rows.append(row)
        made.append((domain, pd.DataFrame(rows).fillna("–")))  # an arm without a sentence has no share that parses
    return made


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that the study is about."""
    if table.empty:
        return table
    turned = table.rename(columns={"one": "other", "other": "one", "low": "high", "high": "low"})
    turned[["value", "low", "high"]] *= -1
    both = pd.concat([table, turned])
    rows = []
    for one, other in PAIRS:
        of = both[(both["one"] == one) & (both["other"] == other)]
        for domain, own in of.groupby("domain", sort=False):
            row = {"comparison": f"{one} minus {other}", "domain": domain}
            for values in own.to_dict("records"):
                head = METRICS[values["metric"]].what.split(", gamma")[0] + " (points)"
                row[head] = _cell(values["value"], values["low"], values["high"])
            rows.append(row)
    return pd.DataFrame(rows)


def training(table: pd.DataFrame) -> pd.DataFrame:
    """How much each arm was trained on, and what its filter kept."""
    names = {
        "domain": "domain", "arm": "arm", "texts": "texts", "tokens": "tokens", "tokens_per_text": "tokens per text",
        "claims_per_text": "claims per text",
        "percent_claims_kept_of_source": "claims kept by the filter, of all texts (%)",
        "percent_claims_kept": "of the texts trained on (%)", "percent_supported": "of those supported (%)",
        "mean_belief": "mean belief", "percent_claims_trained_on": "claims left when arms are equally long (%)",
    }  # fmt: skip
    return table[[name for name in names if name in table]].rename(columns=names).round(2)


def belief(table: pd.DataFrame) -> pd.DataFrame:
    """Measures across, a row per domain, source and scorer."""
    names = {"auroc": "AUROC", "average_precision": "average precision", "ece": "ECE", "brier": "Brier",
             "believed": "believed", "precision_of_believed": "supported, of the believed",
             "supported_disbelieved": "true and not believed"}  # fmt: skip
    own = table[table["measure"].isin(names)] if len(table) else table
    if own.empty:
        return pd.DataFrame()
    cells = [_cell(row.value, row.low, row.high, 3) for row in own.itertuples()]
    wide = own.assign(cell=cells).pivot_table(
        index=["domain", "source", "scorer", "claims", "entities"], columns="measure", values="cell", aggfunc="first",
        sort=False,
    )  # fmt: skip
    wide = wide[[name for name in names if name in wide]].rename(columns=names)
    return wide.reset_index().rename_axis(columns=None)


def scorers(table: pd.DataFrame) -> pd.DataFrame:
    """Which scorer ranks claims better, paired over entities."""
    found = table["measure"].str.extract(r"auroc_minus_(.*)", expand=False) if len(table) else pd.Series()
    own = table[found.notna()] if len(table) else table
    rows = [
        {"domain": row.domain, "source": row.source, "AUROC of": row.scorer, "minus that of": found[row.Index],
         "difference": _cell(row.value, row.low, row.high, 3)}
        for row in own.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows)
