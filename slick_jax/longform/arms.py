"""The arms of the study: a source of text times a filter, rebuilt, equally long, with the same prompts in all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from slick_jax.errors import InputError
from slick_jax.longform import filters, lengths, splits
from slick_jax.settings.longform import FilterConfig

BASE = "BASE"  # the un-tuned model, few-shot: trained on nothing


@dataclass(frozen=True)
class Arm:
    """`source`: as in `records.SOURCES`; `keeps`: all, gold (what the reference supports), self (what the model
    believes), random (a control of self)."""

    name: str
    source: str
    keeps: str


ARMS = (
    Arm("GOLD", "gold", "all"),
    Arm("GOLD+SELF", "gold", "self"),
    Arm("GOLD+RANDOM", "gold", "random"),
    Arm("GEN", "generated", "all"),
    Arm("GEN+GOLD", "generated", "gold"),
    Arm("GEN+SELF", "generated", "self"),
    Arm("GEN+RANDOM", "generated", "random"),
)
NAMES = (BASE, *(arm.name for arm in ARMS))


@dataclass(frozen=True)
class Built:
    """The training texts of a domain's arms.

    Attributes:
      texts: of each arm: text_id, entity, completion, n_tokens, n_claims, n_sentences.
      kept: of each arm: claims of all texts of its source, and how many of them its filter keeps; and of the texts that
        it is trained on, before lengths are made equal, claims, claims and sentences that are kept, and how many of
        these claims are supported and believed.
      left_out: the prompts that are in no arm because an arm has no text for them: entity -> those arms.
      cut: sentences left out because a token limit cut them, by source.
      entities: how many there are in each split.
    """

    texts: dict[str, pd.DataFrame]
    kept: dict[str, dict[str, float | None]]
    left_out: dict[str, list[str]]
    cut: dict[str, int]
    entities: dict[str, int]


def build(
    entities: pd.DataFrame,
    texts: pd.DataFrame,
    sentences: pd.DataFrame,
    claims: pd.DataFrame,
    beliefs: pd.DataFrame,
    *,
    arms: Sequence[str],
    filter: FilterConfig,
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
) -> Built:
    """The arms of one domain, of its entities of split train alone; texts of other splits are passed over.

    Every arm, filtered or not, is rebuilt of the same pieces (`filters.pieces`), so that they differ in what is kept.
    A prompt is in all arms or in none; random controls are drawn in these prompts, like what the model believes there.

    Args:
      entities, texts, sentences, claims, beliefs: tables of `records` (texts of other sources are passed over).
      arms: names of those that are made.
      count_tokens: how many tokens each text has, without special ones.

    Raises InputError for entities that are in two splits, claims without label or belief, an arm for which nothing is
    left, and arms that cannot be made equally long.
    """
    sizes = splits.check_disjoint(entities)
    train = entities.loc[entities["split"] == "train", "id"]
    wanted = [arm for arm in ARMS if arm.name in arms]
    like = {
        arm: next(one for one in ARMS if (one.source, one.keeps) == (arm.source, "self"))
        for arm in wanted if arm.keeps == "random"
    }  # fmt: skip
    plain = dict.fromkeys([*(arm for arm in wanted if arm not in like), *like.values()])
    texts = texts[texts["entity"].isin(set(train))]
    made, told, chosen, share, cut = {}, {}, {}, {}, {}
    for source in dict.fromkeys(arm.source for arm in wanted):
        own = texts[texts["source"] == source]
        whole = sentences[sentences["text_id"].isin(set(own["id"]))]
        cut[source] = int(filters.cut_off(own, whole).sum())
        judges = {arm.keeps for arm in plain if arm.source == source} - {"all"}
        made[source], told[source] = _judged(own, whole, claims, beliefs, judges, filter)
    for arm in plain:
        rows = made[arm.source]
        rows = rows if arm.keeps == "all" else rows[filters.keep(rows, rows[arm.keeps], filter)]
        share[arm.name] = _percent(rows["n_claims"], made[arm.source]["n_claims"])
        chosen[arm.name] = _first_texts(rows, filter.texts_per_prompt)
    chosen, left_out = _same_prompts(chosen, list(train), _flat(made, filter.scorer))
    for arm, other in like.items():
        rows = made[arm.source]
        kept = rows.index.to_series().isin(chosen[other.name].index)
        chosen[arm.name] = rows[filters.random_like(rows, rows["self"], kept, filter)]
    chosen = {arm.name: chosen[arm.name] for arm in wanted}
    kept = {
        arm.name: {"percent_claims_kept_of_source": share.get(arm.name)}
        | _describe(made[arm.source], chosen[arm.name], told[arm.source])
        for arm in wanted
    }
    pieces = {name: rows.assign(tokens=_tokens(rows, count_tokens)) for name, rows in chosen.items()}
    pieces = lengths.match(pieces, measure=filter.match, tolerance=filter.tolerance, seed=filter.seed)
    rebuilt = {name: _rebuilt(rows, count_tokens) for name, rows in pieces.items()}
    if filter.match == "tokens":  # of the whole texts: where sentences meet, tokens may differ
        lengths.check({name: int(of["n_tokens"].sum()) for name, of in rebuilt.items()}, "tokens", filter.tolerance)
    for name, rows in rebuilt.items():
        splits.check_within(rows["entity"], entities, "train", f"arm {name}")
    return Built(rebuilt, kept, left_out, cut, sizes)


def _judged(
    texts: pd.DataFrame, sentences: pd.DataFrame, claims: pd.DataFrame, beliefs: pd.DataFrame, judges: Collection[str],
    filter: FilterConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """The pieces of a source with a column for each of `judges` (gold, self); and the claims in them, with `belief`."""
    told = claims[claims["text_id"].isin(set(texts["id"]))]
    made = filters.pieces(texts, sentences, told, filter.granularity)
    told = told.merge(made[["text_id", "sentence"]].drop_duplicates(), on=["text_id", "sentence"])
    told = told.assign(belief=float("nan"))
    for judge in judges:
        own = judge == "self"
        values = filters.own_belief(told, beliefs, filter.scorer) if own else filters.gold(told, filter.rule)
        made[judge] = filters.scores(made, told, values, filter.granularity)
        told = told.assign(belief=values.to_numpy()) if own else told
    return made, told


def _describe(made: pd.DataFrame, rows: pd.DataFrame, claims: pd.DataFrame) -> dict[str, float | None]:
    """What is kept of the texts that are trained on, before lengths are made equal."""
    by = "claim_id" if (made["claim_id"] != "").any() else ["text_id", "sentence"]
    inside = claims[claims["id"].isin(set(rows["claim_id"]))] if by == "claim_id" else claims.merge(rows[by], on=by)
    whole = made.loc[made["text_id"].isin(set(rows["text_id"])), "n_claims"]
    return {
        "claims_of_source": int(made["n_claims"].sum()), "claims_of_texts": int(whole.sum()),
        "claims_kept": int(rows["n_claims"].sum()), "percent_claims_kept": _percent(rows["n_claims"], whole),
        "sentences_kept": len(rows.drop_duplicates(["text_id", "sentence"])),
        "percent_supported": _mean(100 * inside["supported"].astype(float)), "mean_belief": _mean(inside["belief"]),
    }  # fmt: skip


def _percent(part: pd.Series, whole: pd.Series) -> float:
    return 100 * float(part.sum()) / max(int(whole.sum()), 1)


def _mean(values: pd.Series) -> float | None:
    """The mean, or None where there is no value."""
    return float(values.mean()) if values.notna().any() else None


def _first_texts(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """The pieces of the first `most` texts of every prompt."""
    ids = rows[["entity", "text_id", "sample"]].drop_duplicates().sort_values(["entity", "sample"])
    return rows[rows["text_id"].isin(set(ids.groupby("entity").head(most)["text_id"]))]


def _same_prompts(
    chosen: Mapping[str, pd.DataFrame], train: Sequence[str], hint: str
) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """The arms without the prompts that one of them has no text for, and those prompts; hint: told if none is left."""
    there = {name: set(rows["entity"]) for name, rows in chosen.items()}
    lacking = {entity: [name for name, of in there.items() if entity not in of] for entity in train}
    left_out = {entity: names for entity, names in lacking.items() if names}
    if len(left_out) == len(train):
        found = ", ".join(f"{name} {len(of):,}" for name, of in there.items())
        raise InputError(
            f"no prompt has a text in every arm (of {len(train):,} train entities, by arm: {found}); filter less (a"
            " lower threshold, a larger share), write more samples, or leave an arm out" + hint
        )
    return {name: rows[~rows["entity"].isin(left_out.keys())] for name, rows in chosen.items()}, left_out


def _flat(made: Mapping[str, pd.DataFrame], scorer: str) -> str:
    """Tells of belief that is the same for all sentences, so that a threshold keeps all of them or none."""
    values = pd.concat([pd.Series(dtype=float), *(rows["self"].dropna() for rows in made.values() if "self" in rows)])
    if values.nunique() != 1:
        return ""
    return (
        f"; belief of {scorer} is {values.iloc[0]:.3f} for all claims, as it ranks those of split dev no better than"
        " chance: take another longform.filter.scorer, or more entities in dev"
    )


def _tokens(rows: pd.DataFrame, count_tokens: Callable[[Sequence[str]], Sequence[int]]) -> list[int]:
    """Of each piece as it stands inside a text, behind a blank."""
    return list(count_tokens([f" {words}" for words in rows["words"]]))


def _rebuilt(rows: pd.DataFrame, count_tokens: Callable[[Sequence[str]], Sequence[int]]) -> pd.DataFrame:
    """A row per text: its pieces in their order, with one blank between them."""
    texts = rows.groupby("text_id", sort=False)
    made = texts.agg(entity=("entity", "first"), completion=("words", " ".join), n_claims=("n_claims", "sum"),
                     n_sentences=("sentence", "nunique")).reset_index()  # fmt: skip
    return made.assign(n_tokens=list(count_tokens(made["completion"].tolist())))
