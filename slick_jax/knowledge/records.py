"""From verified questions to annotation rows, and from rows to the run's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from slick_jax.categories import CATEGORIES, CERTAINTY
from slick_jax.config import AnnotateConfig
from slick_jax.data.examples import Example
from slick_jax.knowledge import estimate
from slick_jax.knowledge.exemplars import Chosen
from slick_jax.knowledge.verify import Verified
from slick_jax.models.flops import forward_flops
from slick_jax.models.spec import ModelSpec

RULE_PREFIXES = ("strict_", "")  # column prefix of each match rule, in the order of the rule axis


def record(row: Example, sets: Sequence[Chosen], found: Verified, settings: AnnotateConfig) -> dict:
    """One annotation row (columns of `store.PART_SCHEMA`, without the protocol)."""
    greedy, sampled = found.hits[:, 0], found.hits[:, 1:]
    has_exact = len(found.exact) > 0
    out = {
        "id": row.id,
        "split": row.split,
        "relation": row.relation,
        "subject": row.subject,
        "question": row.question,
        "answers": list(row.answers),
        **exemplar_columns(sets, settings),
        "exact_by_set": found.exact[0, :, 1].tolist() if has_exact else None,
        "exact_rest": float(found.unresolved[0].mean()) if has_exact else None,
        "exact_pairs": found.exact[1:, :, 1].mean(axis=1).tolist(),
        "abstained_greedy": float(found.abstained[:, 0].mean()),
        "abstained_sampled": float(found.abstained[:, 1:].mean()) if found.sampled else None,
        "truncated": int(found.truncated.sum()),
        "gold_logprob": float(found.gold_logprob.mean()),
    }
    for axis, prefix in enumerate(RULE_PREFIXES):
        out |= {
            f"{prefix}greedy_hits": greedy[:, axis].tolist(),
            f"{prefix}sampled_hits": sampled[:, :, axis].tolist() if found.sampled else None,
            f"{prefix}p_correct_greedy": float(greedy[:, axis].mean()),
            f"{prefix}p_correct_sampled": float(sampled[:, :, axis].mean()) if found.sampled else None,
            f"{prefix}p_correct_exact": float(found.exact[0, :, axis].mean()) if has_exact else None,
        }
        p_unknown, lower, miss = None, None, None
        if has_exact:
            p, rest = found.exact[0, :, axis], found.unresolved[0]
            p_unknown, lower = estimate.unknown_given_sets(greedy[:, axis], p, rest, settings.n_samples)
            missed = (1.0 - np.clip(p[~greedy[:, axis]], 0.0, 1.0)) ** settings.n_samples
            miss = float(missed.mean()) if len(missed) else None
        if settings.mode == "exact":
            out[f"{prefix}category"] = estimate.exact_category(greedy[:, axis], p_unknown)
        else:
            out[f"{prefix}category"] = estimate.category(greedy[:, axis], sampled[:, :, axis])
        if not prefix:
            out |= {"p_unknown_given_sets": p_unknown, "p_unknown_given_sets_lower": lower, "mean_miss": miss}
    return out


def exemplar_column(settings: AnnotateConfig) -> str:
    """The column that says what the exemplar sets of a row are."""
    return "exemplar_rows" if settings.exemplars == "per_question" else "exemplar_sets"


def exemplar_columns(sets: Sequence[Chosen], settings: AnnotateConfig) -> dict[str, Sequence[Chosen] | None]:
    """The exemplar sets of a row, in the column that they belong to; the other one is null."""
    return {"exemplar_sets": None, "exemplar_rows": None, exemplar_column(settings): sets}


def add_certainty(table: pd.DataFrame, settings: AnnotateConfig) -> tuple[float, float]:
    """Add p_highly, p_maybe, p_weakly, p_unknown to the run's rows, in place.

    Their prior is the beta-binomial fitted to the run's greedy hits; its two parameters are returned.
    """
    hits = np.array([sum(row) for row in table["greedy_hits"]])
    prior = estimate.fit_beta_binomial(hits, settings.n_exemplar_sets)
    miss = table["mean_miss"].to_numpy(dtype=float) if settings.mode != "labels" else np.full(len(table), np.nan)
    certainty = [
        estimate.label_certainty(int(k), None if np.isnan(m) else float(m), settings.n_exemplar_sets, prior)
        for k, m in zip(hits, miss, strict=True)
    ]
    table[list(CERTAINTY.values())] = np.array(certainty)
    if settings.mode == "labels":  # without the exact P_Correct the two cannot be told apart
        table[["p_weakly", "p_unknown"]] = None
    return prior


def category_table(table: pd.DataFrame, column: str = "category") -> pd.DataFrame:
    """Rows per category, by split and relation, in the data's order of splits; the paper's tables 3-5."""
    counts = pd.crosstab([table["split"], table["relation"]], table[column])
    counts = counts.reindex(columns=list(CATEGORIES), fill_value=0)
    return counts.reindex(list(dict.fromkeys(table["split"])), level=0)


def categories(table: pd.DataFrame) -> dict:
    """Rows of each category, by split and by relation, and how many labels the strict rule changes."""
    return {
        "categories": {
            split: {category: int((rows["category"] == category).sum()) for category in CATEGORIES}
            for split, rows in table.groupby("split", sort=False)
        },
        "relations": {
            split: {relation: {c: int(n) for c, n in row.items()} for relation, row in rows.droplevel(0).iterrows()}
            for split, rows in category_table(table).groupby(level=0, sort=False)
        },
        "strict_differs": int((table["category"] != table["strict_category"]).sum()),
    }


def summary(
    table: pd.DataFrame, counts: Counter, settings: AnnotateConfig, spec: ModelSpec, prefix_lengths: list[int]
) -> dict:
    """What a run found and what it cost; made from rows and counters alone, so that a resumed run gives the same."""
    causes = {name.removeprefix("alive: "): n for name, n in sorted(counts.items()) if name.startswith("alive: ")}
    questions = len(table)
    prefix_tokens = sum(prefix_lengths)
    forwarded = counts["tokens_forwarded"] + prefix_tokens
    seen = counts["tokens_seen"] + counts["tokens_forwarded"] * prefix_tokens / len(prefix_lengths)
    seen += sum(length * (length + 1) / 2 for length in prefix_lengths)
    flops = forward_flops(spec, forwarded, seen, counts["positions_judged"])
    out = {
        "questions": questions,
        "mode": settings.mode,
        "draws_per_question": settings.draws,
        **categories(table),
        "truncated_draws": counts["truncated"],
        "cost": {
            "tokens_forwarded": forwarded,
            "tokens_forwarded_per_question": forwarded / questions,
            "prefix_tokens": prefix_tokens,
            "positions_judged_per_question": counts["positions_judged"] / questions,
            "flops_per_question": {part: number / questions for part, number in flops.items()},
            "rows": counts["rows"],
            "padding_share": 1.0 - counts["tokens_forwarded"] / counts["tokens_computed"],
            "rounds_most": counts["rounds_most"],
            "alive_branches": counts["alive_branches"],
            "alive_branches_per_question": counts["alive_branches"] / questions,
            "alive_branches_by_cause": causes,
        },
    }
    if settings.mode == "full":
        exact = [
            estimate.exact_category(np.array(hits), p)
            for hits, p in zip(table["greedy_hits"], table["p_unknown_given_sets"], strict=True)
        ]
        out["exact_differs_from_sampled_share"] = float((table["category"] != exact).mean())
    if settings.p_true:
        means = table.groupby("category")["p_true"].mean()
        out["p_true"] = {name: float(means[name]) if name in means else None for name in CATEGORIES}
        out["cost"]["p_true_tokens"] = counts["p_true_tokens"]
    if settings.mode != "labels":
        out["exact_rest_mean"] = float(table["exact_rest"].mean())
    return out
