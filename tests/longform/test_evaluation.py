"""The tables of measures: each source apart, the asked splits alone, and nothing lost without being counted."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from slick_jax.longform.evaluation import evaluate


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    entities = pd.DataFrame({"id": list("abcdef"), "split": ["test"] * 4 + ["dev", "train"]})
    texts = pd.DataFrame(
        [{"id": f"{e}/{s}/0", "entity": e, "source": s} for e in entities["id"] for s in ("gold", "generated")]
    )
    claims = pd.DataFrame(
        [
            {"id": f"{t.id}#{i}.0", "text_id": t.id, "entity": t.entity, "supported": bool(rng.random() < 0.5)}
            for t in texts.itertuples()
            for i in range(9)
        ]
    ).astype({"supported": object})
    raw = rng.normal(size=len(claims)) + claims["supported"].astype(float)
    one = pd.DataFrame({"claim_id": claims["id"], "raw": raw, "belief": 1 / (1 + np.exp(-raw))})
    beliefs = pd.concat([one.assign(scorer="probe"), one.assign(scorer="logprob", raw=-raw)])
    claims.loc[claims["id"] == "a/gold/0#2.0", "supported"] = None
    return beliefs, claims, texts, entities


def test_each_source_is_measured_apart_over_the_asked_splits(tables):
    beliefs, claims, texts, entities = tables
    found = evaluate(*tables, draws=200)
    counts = found.measures.groupby(["scorer", "source"])[["claims", "entities", "left_out"]].first()
    assert len(counts) == 4 and (counts["entities"] == 4).all()
    assert counts.loc[("probe", "gold")].tolist() == [35, 4, 1]
    assert counts.loc[("probe", "generated")].tolist() == [36, 4, 0]
    values = found.measures.set_index(["scorer", "source", "measure"])
    inside = claims[claims["text_id"].str.contains("generated") & claims["entity"].isin(list("abcd"))]
    raw = beliefs[beliefs["scorer"] == "probe"].set_index("claim_id").loc[inside["id"], "raw"]
    auroc = values.loc[("probe", "generated", "auroc")]
    assert auroc["value"] == pytest.approx(roc_auc_score(inside["supported"].astype(bool), raw))
    assert auroc["low"] <= auroc["value"] <= auroc["high"]
    assert values.loc[("logprob", "generated", "auroc"), "value"] == pytest.approx(1 - auroc["value"])
    pair = values.loc[("probe", "generated", "auroc_minus_logprob")]
    assert pair["value"] == pytest.approx(2 * auroc["value"] - 1)
    assert pair["high"] - pair["low"] == pytest.approx(2 * (auroc["high"] - auroc["low"])), "the same draws of entities"
    bins = found.reliability[(found.reliability["scorer"] == "probe") & (found.reliability["source"] == "gold")]
    assert len(bins) == 10 and bins["claims"].sum() == 35


def test_a_claim_with_two_rows_is_an_error_of_the_caller(tables):
    beliefs, claims, *rest = tables
    with pytest.raises(pd.errors.MergeError):
        evaluate(beliefs, pd.concat([claims, claims]), *rest)
