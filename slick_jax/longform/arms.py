"""The arms of the study: a source of text times a filter, rebuilt, equally long, with the same prompts in all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from slick_jax.errors import InputError
from slick_jax.longform import filters, lengths, splits
from slick_jax.longform.filters import Filter

BASE = "BASE"  # the un-tuned model, few-shot: trained on nothing


@dataclass(frozen=True)
class Arm:
    """`source`: as in `records.SOURCES`; `keeps`: all, gold (what the reference supports), self (what the model
    believes), random (as much as self)."""

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
class ArmSettings:
    """What besides the filter makes the arms.

    Attributes:
      scorer: whose belief is the model's own judgement.
      texts_per_prompt: at most so many texts of a prompt are trained on: of the samples of which something is kept, the
        first ones. The reference is one text.
      match: what arms are made equal in: tokens, claims, none.
      tolerance: by what part of the smallest arm others may be larger.
    """

    arms: tuple[str, ...] = tuple(arm.name for arm in ARMS)
    scorer: str = "probe"
    texts_per_prompt: int = 1
    match: str = "tokens"
    tolerance: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Built:
    """The training texts of a domain's arms.

    Attributes:
      texts: of each arm: text_id, entity, completion, n_tokens, n_claims, n_sentences.
      kept: of each arm what its filter made of its source: claims and sentences before and behind it, how many of the
        kept claims are supported and believed.
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
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
    filter: Filter,
    settings: ArmSettings,
) -> Built:
    """The arms of one domain, of its entities of split train alone; texts of other splits are passed over.

    Every arm, filtered or not, is rebuilt of the same pieces (`filters.pieces`), so that they differ in what is kept.
    A prompt is in all arms or in none.

    Args:
      entities, texts, sentences, claims, beliefs: tables of `records` (texts of other sources are passed over).
      count_tokens: how many tokens each text has, without special ones.

    Raises InputError for entities that are in two splits, claims without label or belief, an arm for which nothing is
    left, and arms that cannot be made equally long.
    """
    sizes = splits.check_disjoint(entities)
    train = entities.loc[entities["split"] == "train", "id"]
    arms = [arm for arm in ARMS if arm.name in settings.arms]
    texts = texts[texts["entity"].isin(set(train))]
    chosen, kept, cut = {}, {}, {}
    for source in dict.fromkeys(arm.source for arm in arms):
        own = texts[texts["source"] == source]
        told = claims[claims["text_id"].isin(set(own["id"]))]
        whole = sentences[sentences["text_id"].isin(set(own["id"]))]
        cut[source] = int(filters.cut_off(own, whole).sum())
        made = filters.pieces(own, whole, told, filter.granularity)
        told = told.merge(made[["text_id", "sentence"]].drop_duplicates(), on=["text_id", "sentence"])
        wanted = [arm for arm in arms if arm.source == source]
        for arm, mask, judged in _masks(made, told, beliefs, wanted, filter, settings.scorer):
            kept[arm.name] = _describe(made, mask, judged)
            chosen[arm.name] = _first_texts(made[mask], settings.texts_per_prompt)
    chosen, left_out = _same_prompts(chosen, list(train))
    pieces = {name: rows.assign(tokens=_tokens(rows, count_tokens)) for name, rows in chosen.items()}
    pieces = lengths.match(pieces, measure=settings.match, tolerance=settings.tolerance, seed=settings.seed)
    made = {name: _rebuilt(rows, count_tokens) for name, rows in pieces.items()}
    if settings.match == "tokens":  # of the whole texts: where sentences meet, tokens may differ
        lengths.check({name: int(rows["n_tokens"].sum()) for name, rows in made.items()}, "tokens", settings.tolerance)
    for name, rows in made.items():
        splits.check_within(rows["entity"], entities, "train", f"arm {name}")
    return Built(made, kept, left_out, cut, sizes)


def _masks(
    made: pd.DataFrame, claims: pd.DataFrame, beliefs: pd.DataFrame, arms: Sequence[Arm], filter: Filter, scorer: str
):
    """Every arm of a source with the pieces it keeps, and what is known of the claims in them."""
    judged, judgements = {}, {}
    for keeps in {"self" if arm.keeps == "random" else arm.keeps for arm in arms} - {"all"}:
        values = filters.gold(claims, filter.rule) if keeps == "gold" else filters.own_belief(claims, beliefs, scorer)
        judgements[keeps] = values
        judged[keeps] = filters.scores(made, claims, values, filter.granularity)
    known = claims.assign(belief=judgements["self"].to_numpy() if "self" in judgements else float("nan"))
    for arm in arms:
        if arm.keeps == "all":
            yield arm, pd.Series(True, made.index), known
        elif arm.keeps == "random":
            mask = filters.keep(made, judged["self"], filter)
            yield arm, filters.random_like(made, judged["self"], mask, filter), known
        else:
            yield arm, filters.keep(made, judged[arm.keeps], filter), known


def _describe(made: pd.DataFrame, mask: pd.Series, claims: pd.DataFrame) -> dict[str, float | None]:
    """What the filter keeps of all texts of the source, before prompts and lengths are made equal."""
    rows, by = made[mask], "claim_id" if (made["claim_id"] != "").any() else ["text_id", "sentence"]
    inside = claims[claims["id"].isin(set(rows["claim_id"]))] if by == "claim_id" else claims.merge(rows[by], on=by)
    total = int(made["n_claims"].sum())
    return {
        "texts_of_source": int(made["text_id"].nunique()), "texts_kept": int(rows["text_id"].nunique()),
        "sentences_of_source": len(made.drop_duplicates(["text_id", "sentence"])),
        "sentences_kept": len(rows.drop_duplicates(["text_id", "sentence"])),
        "claims_of_source": total, "claims_kept": int(rows["n_claims"].sum()),
        "percent_claims_kept": 100 * float(rows["n_claims"].sum()) / max(total, 1),
        "percent_supported": _mean(100 * inside["supported"].astype(float)), "mean_belief": _mean(inside["belief"]),
    }  # fmt: skip


def _mean(values: pd.Series) -> float | None:
    """The mean, or None where there is no value."""
    return float(values.mean()) if values.notna().any() else None


def _first_texts(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """The pieces of the first `most` texts of every prompt."""
    ids = rows[["entity", "text_id", "sample"]].drop_duplicates().sort_values(["entity", "sample"])
    return rows[rows["text_id"].isin(set(ids.groupby("entity").head(most)["text_id"]))]


def _same_prompts(
    chosen: Mapping[str, pd.DataFrame], train: Sequence[str]
) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """The arms without the prompts that one of them has no text for, and those prompts."""
    there = {name: set(rows["entity"]) for name, rows in chosen.items()}
    lacking = {entity: [name for name, of in there.items() if entity not in of] for entity in train}
    left_out = {entity: names for entity, names in lacking.items() if names}
    if len(left_out) == len(train):
        found = ", ".join(f"{name} {len(of):,}" for name, of in there.items())
        raise InputError(
            f"no prompt has a text in every arm (of {len(train):,} train entities, by arm: {found}); filter less (a"
            " lower threshold, a larger share), write more samples, or leave an arm out"
        )
    return {name: rows[~rows["entity"].isin(left_out.keys())] for name, rows in chosen.items()}, left_out


def _tokens(rows: pd.DataFrame, count_tokens: Callable[[Sequence[str]], Sequence[int]]) -> list[int]:
    """Of each piece as it stands inside a text, behind a blank."""
    return list(count_tokens([f" {words}" for words in rows["words"]]))


def _rebuilt(rows: pd.DataFrame, count_tokens: Callable[[Sequence[str]], Sequence[int]]) -> pd.DataFrame:
    """A row per text: its pieces in their order, with one blank between them."""
    texts = rows.groupby("text_id", sort=False)
    made = texts.agg(entity=("entity", "first"), completion=("words", " ".join), n_claims=("n_claims", "sum"),
                     n_sentences=("sentence", "nunique")).reset_index()  # fmt: skip
    return made.assign(n_tokens=list(count_tokens(made["completion"].tolist())))
