"""Which pieces of its texts an arm keeps: what is believed, what the reference supports, or as many at random.

Texts are cut into pieces that are kept or dropped whole. What decides together is a unit: a sentence (judged by its
least claim), a claim, or a whole response (judged by the mean of its claims).
"""

from __future__ import annotations

import pandas as pd

from slick_jax.errors import InputError
from slick_jax.files.hashing import id_words
from slick_jax.longform.sentences import is_complete
from slick_jax.settings.longform import FilterConfig


def cut_off(texts: pd.DataFrame, sentences: pd.DataFrame) -> pd.Series:
    """Which sentences are the unfinished end of a text that hit its token limit, [rows of `sentences`] bool."""
    truncated = sentences["text_id"].isin(set(texts.loc[texts["truncated"], "id"]))
    last = sentences["sentence"] == sentences.groupby("text_id")["sentence"].transform("max")
    return truncated & last & ~sentences["words"].map(is_complete).astype(bool)


def pieces(texts: pd.DataFrame, sentences: pd.DataFrame, claims: pd.DataFrame, granularity: str) -> pd.DataFrame:
    """The pieces of `texts` in their order: sentences, or claims' words (and sentences without claims) for `claim`.

    Sentences that a token limit cut are left out. All tables have the columns of `records`; rows of other texts are
    ignored. Returns columns text_id, entity, sample, sentence, claim_id ('' but for claims), words, n_claims, unit
    (equal for what is kept or dropped together).
    """
    own = sentences[sentences["text_id"].isin(set(texts["id"]))]
    own = own[~cut_off(texts, own)]
    counts = claims.groupby(["text_id", "sentence"]).size().rename("n_claims").reset_index()
    found = own[["text_id", "sentence", "words"]].merge(counts, how="left", on=["text_id", "sentence"])
    found = found.assign(n_claims=found["n_claims"].fillna(0).astype(int), claim_id="", number=0)
    if granularity == "claim":
        found = _as_claims(found, claims)
    place = {name: number for number, name in enumerate(texts["id"])}
    found = found.merge(texts[["id", "entity", "sample"]].rename(columns={"id": "text_id"}), on="text_id")
    found["words"] = found["words"].str.split().str.join(" ")
    found = found[found["words"] != ""]
    found = found.assign(place=found["text_id"].map(place)).sort_values(["place", "sentence", "number"])
    by = ["text_id"] if granularity == "response" else ["text_id", "sentence", "number"]
    unit = found.groupby(by, sort=False).ngroup() if len(found) else pd.Series(dtype=int)
    columns = ["text_id", "entity", "sample", "sentence", "claim_id", "words", "n_claims"]
    return found[columns].assign(unit=unit).reset_index(drop=True)


def _as_claims(found: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """The sentences with claims replaced by those, each ended as a sentence."""
    words = claims["claim"].str.strip()
    ended = words.map(is_complete).astype(bool)
    made = pd.DataFrame(
        {
            "text_id": claims["text_id"], "sentence": claims["sentence"], "words": words.where(ended, words + "."),
            "n_claims": 1, "claim_id": claims["id"], "number": claims.groupby(["text_id", "sentence"]).cumcount(),
        }
    )  # fmt: skip
    there = found.loc[found["n_claims"] > 0, ["text_id", "sentence"]]
    return pd.concat([found[found["n_claims"] == 0], made.merge(there, on=["text_id", "sentence"])])


def gold(claims: pd.DataFrame, rule: str) -> pd.Series:
    """The reference's judgement of every claim, by id: supported or not; for rule `share` how well supported, where the
    verifier says so. Raises InputError for claims without a label."""
    bare = claims["supported"].isna()
    if bare.any():
        first = claims.loc[bare, "id"].iloc[0]
        raise InputError(f"{bare.sum():,} claims have no gold label, such as {first!r}; run `slick longform-claims`")
    supported = claims["supported"].astype(float)
    values = supported if rule == "threshold" else claims["support"].astype(float).fillna(supported)
    return values.set_axis(claims["id"])


def own_belief(claims: pd.DataFrame, beliefs: pd.DataFrame, scorer: str) -> pd.Series:
    """The model's calibrated belief in every claim, by id. Raises InputError for claims without one."""
    of = beliefs[beliefs["scorer"] == scorer].set_index("claim_id")["belief"].astype(float)
    found = of.reindex(claims["id"])
    if found.isna().any():
        first = found.index[found.isna()][0]
        there = ", ".join(sorted(set(beliefs["scorer"]))) or "none"
        raise InputError(
            f"{found.isna().sum():,} of {len(found):,} claims have no belief of scorer {scorer!r}, such as {first!r}"
            f" (scorers there: {there}); run the beliefs stage with it first"
        )
    return found


def scores(made: pd.DataFrame, claims: pd.DataFrame, judgement: pd.Series, granularity: str) -> pd.Series:
    """What decides over each piece, [rows of `made`]; NaN where it has no claim to judge.

    Args:
      judgement: of every claim, by its id: a probability, or 0 and 1.
    """
    values = claims.assign(value=judgement.reindex(claims["id"]).to_numpy())
    if granularity == "claim":
        return made["claim_id"].map(values.set_index("id")["value"])
    if granularity == "response":
        # Of the claims that are in the pieces: a sentence that was cut is not.
        values = values.merge(made[["text_id", "sentence"]], on=["text_id", "sentence"])
        return made["text_id"].map(values.groupby("text_id")["value"].mean())
    least = values.groupby(["text_id", "sentence"])["value"].min()
    keys = pd.MultiIndex.from_frame(made[["text_id", "sentence"]])
    return pd.Series(least.reindex(keys).to_numpy(), made.index)


def keep(made: pd.DataFrame, judged: pd.Series, filter: FilterConfig) -> pd.Series:
    """Which pieces the filter keeps, [rows of `made`] bool.

    Args:
      judged: of `scores`.
    """
    if filter.rule == "threshold":
        chosen = judged >= filter.threshold
    else:
        units = made.assign(score=judged)[judged.notna()].groupby("unit").agg({"score": "first", "n_claims": "sum"})
        units["noise"] = _noise(made, "ties", filter)
        units = units.sort_values(["score", "noise"], ascending=[False, True])
        before = units["n_claims"].cumsum() - units["n_claims"]
        best = units.index[before < round(filter.share * units["n_claims"].sum())]
        chosen = made["unit"].isin(best) & judged.notna()
    return _with_claimless(made, judged, chosen, filter)


def random_like(made: pd.DataFrame, judged: pd.Series, kept: pd.Series, filter: FilterConfig) -> pd.Series:
    """A random control of the pieces `kept`, drawn from those that can be judged, [rows of `made`] bool.

    It has the same prompts, as many texts of each, and of these texts as large a share of the claims: any texts of the
    prompt, and at least one unit of each (random_within all); or the texts of `kept`, and as many units of each (text).
    The draw hangs on the seed and the pieces' own names, not on their order.
    """
    able = judged.notna()
    units = made[["entity", "text_id", "unit"]].assign(kept=kept)[able].groupby("unit").first()
    units["n"] = made["n_claims"].groupby(made["unit"]).sum()
    units["noise"] = _noise(made, "random", filter)
    units = units.sort_values("noise")
    if filter.random_within == "text":
        wanted = units["kept"].groupby(units["text_id"]).transform("sum")
        chosen = units.index[units.groupby("text_id").cumcount() < wanted]
    else:
        own = units[units["text_id"].isin(set(units.loc[units["kept"], "text_id"]))]
        pool = units[units["text_id"].isin(_as_many_texts(units, own, filter))]
        pool = pool.assign(later=pool.groupby("text_id").cumcount() > 0).sort_values(["later", "noise"])
        wanted = pool["n"].sum() * own.loc[own["kept"], "n"].sum() / max(own["n"].sum(), 1)
        chosen = pool.index[~pool["later"] | (pool["n"].cumsum() - pool["n"] / 2 <= wanted)]
    return _with_claimless(made, judged, made["unit"].isin(chosen) & able, filter)


def _as_many_texts(units: pd.DataFrame, own: pd.DataFrame, filter: FilterConfig) -> set[str]:
    """Of every prompt as many texts as `own` has units of, drawn at random."""
    texts = units[["entity", "text_id"]].drop_duplicates()
    texts = texts.assign(noise=[id_words(f"{filter.seed}/texts/{name}")[0] for name in texts["text_id"]])
    wanted = texts["entity"].map(own.groupby("entity")["text_id"].nunique()).fillna(0)
    texts = texts.sort_values("noise")
    return set(texts.loc[texts.groupby("entity").cumcount() < wanted[texts.index], "text_id"])


def _with_claimless(made: pd.DataFrame, judged: pd.Series, chosen: pd.Series, filter: FilterConfig) -> pd.Series:
    """Adds the pieces without claims, where they are to be kept, to texts of which something else is."""
    if filter.claimless == "drop":
        return chosen
    return chosen | (judged.isna() & made["text_id"].isin(set(made.loc[chosen, "text_id"])))


def _noise(made: pd.DataFrame, purpose: str, filter: FilterConfig) -> pd.Series:
    """A random number per unit, by its number: it hangs on the unit's name alone."""
    names = made["text_id"]
    if filter.granularity != "response":
        names = names + "#" + made["sentence"].astype(str) + "#" + made["claim_id"]
    names = names.groupby(made["unit"]).first()
    words = [id_words(f"{filter.seed}/{purpose}/{name}")[0] for name in names]
    return pd.Series(words, names.index, dtype="int64")
