"""What is counted in every long answer: claims, supported ones, parsed sentences, abstentions, precision, FActScore."""

from __future__ import annotations

import numpy as np
import pandas as pd

from slick_jax.errors import InputError
from slick_jax.settings.longform import LongformConfig

GAMMA = LongformConfig.gamma  # claims that an answer needs for its full FActScore (Min et al. 2023, section 3.1)
COLUMNS = ("id", "entity", "arm", "trained_on", "seed", "text", "n_tokens", "truncated")


def per_answer(
    answers: pd.DataFrame,
    sentences: pd.DataFrame,
    claims: pd.DataFrame,
    entities: pd.DataFrame,
    gamma: float = GAMMA,
) -> pd.DataFrame:
    """A row per answer, those without any claim among them.

    Args:
      answers: columns of `records.TEXTS` with arm, trained_on (the domain of the training texts; '' for BASE) and
        seed (of the training run).
      sentences: columns of `records.SENTENCES`; claims: of `records.CLAIMS`. Those of other texts are ignored.
      entities: columns of `records.ENTITIES`, from which come domain, split and exposure.

    Returns columns id, entity, domain, split, exposure, arm, trained_on, seed, n_tokens, truncated, claims, supported,
    unsupported, repeated (claims that say what an earlier one of the answer says), sentences (that a grammar was asked
    to parse) and parsed (of them), empty (no text at all), abstained (no claim), and, where there is a claim, precision
    and factscore (shares; else NaN). FActScore is precision times exp(1 - gamma / n) for an answer of n < gamma claims.
    Raises InputError for answers about unknown entities, ids that occur twice, and claims without a label.
    """
    _check(answers, claims, entities)
    own = claims[claims["text_id"].isin(set(answers["id"]))]
    if own["supported"].isna().any():
        first = own.loc[own["supported"].isna(), "id"].iloc[0]
        raise InputError(f"{own['supported'].isna().sum():,} claims of answers have no gold label, such as {first!r}")
    says = own["claim"].str.casefold().str.split().str.join(" ")
    parsed = own["relation"].notna()
    says = says.mask(parsed, own["relation"].astype(str) + "\0" + own["value"].astype(str))
    told = pd.DataFrame(
        {
            "text_id": own["text_id"], "supported": own["supported"].astype(int),
            "repeated": pd.DataFrame({"text_id": own["text_id"], "says": says}).duplicated().astype(int),
        }
    ).groupby("text_id")  # fmt: skip
    counts = told.agg(claims=("supported", "size"), supported=("supported", "sum"), repeated=("repeated", "sum"))
    columns = ["id", "domain", "split", "exposure"]
    rows = answers[list(COLUMNS)].merge(entities[columns].rename(columns={"id": "entity"}), on="entity")
    counts = [counts, sentences.groupby("text_id")["parsed"].agg(sentences="count", parsed="sum")]
    for of in counts:
        rows = rows.merge(of, how="left", left_on="id", right_index=True)
    whole = ["claims", "supported", "repeated", "sentences", "parsed"]
    rows[whole] = rows[whole].fillna(0).astype(int)
    n = rows["claims"].where(rows["claims"] > 0)
    precision = rows["supported"] / n
    penalty = np.exp(np.minimum(0.0, 1 - gamma / n))
    rows = rows.assign(
        unsupported=rows["claims"] - rows["supported"], empty=rows["text"].str.strip() == "",
        abstained=rows["claims"] == 0, precision=precision, factscore=precision * penalty,
    )  # fmt: skip
    return rows.drop(columns="text")


def _check(answers: pd.DataFrame, claims: pd.DataFrame, entities: pd.DataFrame) -> None:
    problems = []
    for name, ids in (("answers", answers["id"]), ("claims", claims["id"]), ("entities", entities["id"])):
        if ids.duplicated().any():
            problems.append(f"{name}: id {ids[ids.duplicated()].iloc[0]!r} occurs twice")
    unknown = answers.loc[~answers["entity"].isin(set(entities["id"])), "entity"]
    if len(unknown):
        problems.append(f"answers: {unknown.nunique():,} entities are not in the study, such as {unknown.iloc[0]!r}")
    if problems:
        raise InputError.of(problems)
