"""Answers of a study whose arms are planted: how many claims an answer makes, and how likely each is supported."""

import numpy as np
import pandas as pd

from slick_jax.longform.answers import per_answer
from slick_jax.longform.arms import BASE, NAMES

DOMAINS = ("biographies", "plots", "leaflets")
PRECISION = {"BASE": 0.55, "GOLD": 0.52, "GOLD+SELF": 0.58, "GOLD+RANDOM": 0.53, "GEN": 0.56, "GEN+GOLD": 0.63,
             "GEN+SELF": 0.68, "GEN+RANDOM": 0.57}  # fmt: skip


def entities(domains=DOMAINS, n=120, exposures=(1, 4, 16, 64)):
    rows = [
        {"id": f"{domain}.{i}", "domain": domain, "name": f"{domain} {i}", "split": "test" if i % 4 else "train",
         "prompt": f"Tell of {domain} {i}.", "reference": f"{domain} {i}.",
         "exposure": exposures[i % len(exposures)] if exposures else None}
        for domain in domains for i in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def tables(told, precision=None, arms=NAMES, seeds=(0, 1), transfer=True, n_claims=(6, 15), seed=0):
    """answers and claims of every arm about all test entities; an arm that is trained elsewhere loses half its gain.

    precision: arm -> share supported, or function of (arm, domain) giving it.
    """
    rng = np.random.default_rng(seed)
    share = precision if callable(precision) else lambda arm, domain: {**PRECISION, **(precision or {})}[arm]
    answers, sentences, claims = [], [], []
    domains = list(dict.fromkeys(told["domain"]))
    for domain in domains:
        asked = told[(told["domain"] == domain) & (told["split"] == "test")]
        for arm in arms:
            for source in [""] if arm == BASE else domains if transfer else [domain]:
                for run in [0] if arm == BASE else seeds:
                    own = share(arm, domain)
                    own = own if source in ("", domain) else (own + share("BASE", domain)) / 2
                    for row in asked.itertuples():
                        known = 0 if pd.isna(row.exposure) else 0.05 * (np.log2(row.exposure) - 3)
                        name = f"{row.id}/answer/{arm}/{source}/{run}"
                        n = int(rng.integers(*n_claims)) if rng.random() > 0.03 else 0
                        cut = rng.random() < 0.02
                        answers.append((name, row.id, arm, source, run, "Said." if n else "", 12 * n, cut))
                        sentences += [(name, k, k > 0) for k in range(n)]  # the first one does not parse
                        right = rng.random(n) < np.clip(own + known, 0, 1)
                        claims += [(f"{name}#{k}.0", name, row.id, k, f"claim {k}", "r", str(k), bool(right[k]),
                                    float(right[k])) for k in range(n)]  # fmt: skip
    return (
        pd.DataFrame(answers, columns=["id", "entity", "arm", "trained_on", "seed", "text", "n_tokens", "truncated"]),
        pd.DataFrame(sentences, columns=["text_id", "sentence", "parsed"]),
        pd.DataFrame(claims, columns=["id", "text_id", "entity", "sentence", "claim", "relation", "value", "supported",
                                      "support"]),
    )  # fmt: skip


def scored(domains=DOMAINS, n=120, exposures=(1, 4, 16, 64), **settings):
    told = entities(domains, n, exposures)
    return per_answer(*tables(told, **settings), told)


def training(domains=DOMAINS, **tokens):
    """How much the arms were trained on: 10,000 tokens, where not given."""
    return pd.DataFrame(
        {"domain": domain, "arm": arm, "texts": 40, "tokens": tokens.get(domain, {}).get(arm, 10_000 + place),
         "tokens_per_text": 250.0, "claims_per_text": 12.5, "percent_claims_kept": 60.0, "percent_supported": 80.0,
         "mean_belief": 0.6}
        for domain in domains for place, arm in enumerate(NAMES[1:])
    )  # fmt: skip


def belief(domains=DOMAINS):
    """Measures of belief and reliability bins of two scorers."""
    rng, rows, bins = np.random.default_rng(1), [], []
    for domain in domains:
        for source in ("gold", "generated"):
            for scorer in ("probe", "p_true"):
                cells = rng.dirichlet([5, 2, 1, 3] if source == "generated" else [7, 3, 0.1, 0.1])
                names = ("supported_believed", "supported_disbelieved", "unsupported_believed",
                         "unsupported_disbelieved")  # fmt: skip
                values = dict(zip(names, cells, strict=True)) | {"believed": cells[0] + cells[2], "auroc": 0.8,
                                                               "supported": cells[0] + cells[1]}
                values |= {"auroc_minus_probe": 0.05} if scorer == "p_true" else {}
                rows += [(domain, source, scorer, 400, 30, name, v, v - 0.02, v + 0.02) for name, v in values.items()]
                for place in range(10):
                    middle = place / 10 + 0.05
                    right = float(np.clip(middle + rng.normal(0, 0.05), 0, 1))
                    claims = 0 if place == 9 and scorer == "p_true" else 40
                    bins.append((domain, source, scorer, claims, middle, right, right - 0.06, right + 0.06))
    return (
        pd.DataFrame(rows, columns=["domain", "source", "scorer", "claims", "entities", "measure", "value", "low",
                                    "high"]),
        pd.DataFrame(bins, columns=["domain", "source", "scorer", "claims", "belief", "precision_value",
                                    "precision_low", "precision_high"]),
    )  # fmt: skip
