"""Plants answers.parquet of a run, and the hits behind the categories of annotations.parquet."""

import numpy as np
import pandas as pd

from slick_jax.categories import CATEGORIES

SETS, SAMPLES = 5, 6


def write_answers(place, questions, asked, seed, right):
    """answers.parquet of one run.

    questions: id, split, relation, answers, category. asked: {stop: (epoch, {split: share to be right})}. right: of
    (table of a split's questions, share, seed), which are right and optionally which are answered: bool arrays.
    """
    tables = []
    for stop, (epoch, shares) in asked.items():
        for split, share in shares.items():
            table = questions[questions["split"] == split].reset_index(drop=True)
            found = right(table, share, seed)
            hit, answered = found if isinstance(found, tuple) else (found, np.ones(len(table), bool))
            gold = table["answers"].str[0]
            text = np.where(~answered, "I don't know", np.where(hit, gold, "answer 0"))
            tables.append(table[["split", "id", "relation", "category"]].assign(
                stop=stop, epoch=epoch, hit=hit & answered, strict_hit=hit & answered, abstained=~answered, answer=text
            ))  # fmt: skip
    pd.concat(tables).to_parquet(place / "answers.parquet")


def by_share(table, share, seed):
    """Exactly that share of the questions: mostly the better known and easier ones, with some luck of the seed."""
    known = {"HighlyKnown": 0.0, "MaybeKnown": 0.6, "WeaklyKnown": 1.2, "Unknown": 1.9}
    easy, luck = np.random.default_rng(0).random(len(table)), np.random.default_rng(seed + 1).random(len(table))
    order = np.argsort(table["category"].map(known).to_numpy() + easy + 0.3 * luck, kind="stable")
    hit = np.zeros(len(table), bool)
    hit[order[: round(share * len(table))]] = True
    return hit


def measured(questions):
    """The questions with hits, scores and P(True) that fit their categories."""
    rng = np.random.default_rng(5)
    rows = []
    for category in questions["category"]:
        greedy = np.ones(SETS, bool) if category == "HighlyKnown" else np.zeros(SETS, bool)
        sampled = np.zeros((SETS, SAMPLES), bool)
        if category == "MaybeKnown":
            greedy[rng.permutation(SETS)[: rng.integers(1, SETS)]] = True
        if category == "WeaklyKnown":
            sampled[rng.integers(SETS), rng.integers(SAMPLES)] = True
        sampled |= greedy[:, None] & (rng.random((SETS, SAMPLES)) < 0.8)
        exact = float(np.clip(sampled.mean() + rng.normal(0, 0.01), 0, 1))
        rows.append((greedy.tolist(), sampled.tolist(), greedy.mean(), sampled.mean(), exact, 0.0))
    names = ["greedy_hits", "sampled_hits", "p_correct_greedy", "p_correct_sampled", "p_correct_exact"]
    table = pd.concat([questions, pd.DataFrame(rows, columns=[*names, "abstained_greedy"])], axis=1)
    hits = table[names].add_prefix("strict_")
    p_true = np.clip(table["p_correct_exact"] + rng.normal(0, 0.4, len(table)), 0, 1)
    certain = rng.dirichlet(np.ones(4), len(table)) / 2  # of the four labels; the own one gets the other half
    certain[np.arange(len(table)), [CATEGORIES.index(name) for name in table["category"]]] += 0.5
    labels = pd.DataFrame(certain, columns=["p_highly", "p_maybe", "p_weakly", "p_unknown"])
    return pd.concat([table, hits, labels], axis=1).assign(p_true=p_true)
