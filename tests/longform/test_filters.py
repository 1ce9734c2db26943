"""What filters keep: against hand-made texts, a planted belief that equals truth, and counts of the random control."""

import itertools

import numpy as np
import pandas as pd
import pytest

from slick_jax.errors import InputError
from slick_jax.longform import filters
from slick_jax.settings.longform import FilterConfig
from tests.longform import planted_texts

GRANULARITIES = ("sentence", "claim", "response")
GRID = list(itertools.product(GRANULARITIES, ("threshold", "share")))


def hand_made(beliefs):
    """One text: s0 with two claims, s1 without a claim, s2 with one; s3, cut at the limit, with one."""
    texts = pd.DataFrame({"id": ["t"], "entity": ["e"], "source": ["generated"], "sample": [0], "truncated": [True]})
    words = ["A is b, a c.", "Well.", "A  did\nd.", "A was e and"]
    sentences = pd.DataFrame({"text_id": "t", "sentence": range(4), "words": words})
    ids = ["t#0.0", "t#0.1", "t#2.0", "t#3.0"]
    claims = pd.DataFrame(
        {"id": ids, "text_id": "t", "entity": "e", "sentence": [0, 0, 2, 3],
         "claim": ["A is b.", "A is c", "A did d.", "A was e"], "supported": True, "support": 1.0}
    )  # fmt: skip
    return texts, sentences, claims, pd.Series(beliefs, ids)


def kept_words(granularity, beliefs, **settings):
    texts, sentences, claims, belief = hand_made(beliefs)
    made = filters.pieces(texts, sentences, claims, granularity)
    judged = filters.scores(made, claims, belief, granularity)
    return made.loc[filters.keep(made, judged, FilterConfig(granularity, **settings)), "words"].tolist()


def test_a_sentence_is_kept_when_all_its_claims_are():
    assert kept_words("sentence", [0.9, 0.5, 0.9, 0.9]) == ["A is b, a c.", "A did d."]
    assert kept_words("sentence", [0.9, 0.49, 0.9, 0.9]) == ["A did d."]
    assert kept_words("sentence", [0.9, 0.49, 0.9, 0.9], claimless="keep") == ["Well.", "A did d."]
    assert kept_words("sentence", [0.4, 0.4, 0.4, 0.9], claimless="keep") == []  # nothing to hang on


def test_by_claims_the_text_is_rebuilt_of_their_words():
    assert kept_words("claim", [0.1, 0.9, 0.9, 0.9]) == ["A is c.", "A did d."]
    assert kept_words("claim", [0.1, 0.9, 0.9, 0.9], claimless="keep") == ["A is c.", "Well.", "A did d."]


def test_a_response_is_judged_by_the_mean_of_its_whole_sentences_claims():
    assert kept_words("response", [0.5, 0.3, 0.7, 0.0]) == ["A is b, a c.", "Well.", "A did d."]
    assert kept_words("response", [0.5, 0.3, 0.6, 1.0]) == []


def test_a_sentence_cut_at_the_token_limit_is_in_no_piece():
    texts, sentences, claims, _ = hand_made([1, 1, 1, 1])
    assert filters.cut_off(texts, sentences).tolist() == [False, False, False, True]
    assert not filters.cut_off(texts.assign(truncated=False), sentences).any()
    ended = sentences.assign(words=[*sentences["words"][:3], 'He said "yes."'])
    assert not filters.cut_off(texts, ended).any()


@pytest.mark.parametrize(("granularity", "rule"), GRID)
def test_belief_that_equals_truth_keeps_what_the_reference_keeps(granularity, rule):
    domain = planted_texts.truthful(samples=2)
    texts = domain.of("generated")
    claims = domain.claims[domain.claims["text_id"].isin(texts["id"])]
    made = filters.pieces(texts, domain.sentences, claims, granularity)
    settings = FilterConfig(granularity, rule, share=0.4)
    masks = [
        filters.keep(made, filters.scores(made, claims, judgement, granularity), settings)
        for judgement in (filters.gold(claims, rule), filters.own_belief(claims, domain.beliefs, "probe"))
    ]
    assert masks[0].equals(masks[1]) and 0 < masks[0].sum() < len(made)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_share_keeps_the_best_units_until_they_hold_their_claims(granularity):
    domain = planted_texts.Domain()
    texts = domain.of("generated")
    claims = domain.claims[domain.claims["text_id"].isin(texts["id"])]
    made = filters.pieces(texts, domain.sentences, claims, granularity)
    judged = filters.scores(made, claims, filters.own_belief(claims, domain.beliefs, "probe"), granularity)
    kept = filters.keep(made, judged, FilterConfig(granularity, "share", share=0.3))
    sizes = made.groupby("unit")["n_claims"].sum()
    assert 0 <= made.loc[kept, "n_claims"].sum() - round(0.3 * len(claims)) < sizes.max()
    assert judged[kept].min() >= judged[~kept].max()


@pytest.mark.parametrize(("granularity", "rule"), GRID)
def test_random_control_has_the_same_prompts_texts_and_share_whatever_their_order(granularity, rule):
    domain = planted_texts.Domain(samples=2)
    texts = domain.of("generated")
    claims = domain.claims[domain.claims["text_id"].isin(texts["id"])]
    made = filters.pieces(texts, domain.sentences, claims, granularity)
    judged = filters.scores(made, claims, filters.own_belief(claims, domain.beliefs, "probe"), granularity)
    settings = FilterConfig(granularity, rule, seed=3)
    kept = filters.keep(made, judged, settings) & (made["sample"] == 0)  # one text of a prompt
    drawn = filters.random_like(made, judged, kept, settings)

    def share(mask):
        whole = made.loc[made["text_id"].isin(made.loc[mask, "text_id"]), "n_claims"].sum()
        return made.loc[mask, "n_claims"].sum() / whole, made.groupby("unit")["n_claims"].sum().max() / whole

    of_texts = [made[mask].groupby("entity")["text_id"].nunique() for mask in (kept, drawn)]
    assert of_texts[0].equals(of_texts[1]) and len(of_texts[0]) > 10
    assert abs(share(kept)[0] - share(drawn)[0]) <= share(drawn)[1] / 2 and not drawn.equals(kept)
    assert set(made.loc[drawn, "sample"]) == {0, 1}
    shuffled = made.sample(frac=1, random_state=1)
    again = filters.random_like(shuffled, judged[shuffled.index], kept[shuffled.index], settings)
    assert again.sort_index().equals(drawn)
    other = filters.random_like(made, judged, kept, FilterConfig(granularity, rule, seed=4))
    assert not other.equals(drawn)


def test_random_control_within_texts_keeps_as_many_in_every_text():
    domain = planted_texts.Domain()
    texts = domain.of("generated")
    made = filters.pieces(texts, domain.sentences, domain.claims, "sentence")
    judged = filters.scores(made, domain.claims, filters.own_belief(domain.claims, domain.beliefs, "probe"), "sentence")
    settings = FilterConfig(random_within="text")
    kept = filters.keep(made, judged, settings)
    drawn = filters.random_like(made, judged, kept, settings)
    assert made[kept]["text_id"].value_counts().to_dict() == made[drawn]["text_id"].value_counts().to_dict()
    assert judged[drawn].mean() < judged[kept].mean()


def test_random_control_draws_every_unit_of_a_text_equally_often():
    domain = planted_texts.Domain(n=10)
    made = filters.pieces(domain.of("generated"), domain.sentences, domain.claims, "sentence")
    judged = filters.scores(made, domain.claims, filters.own_belief(domain.claims, domain.beliefs, "probe"), "sentence")
    kept = filters.keep(made, judged, FilterConfig())
    often = sum(filters.random_like(made, judged, kept, FilterConfig(seed=seed)).astype(int) for seed in range(150))
    able = often[judged.notna() & made["entity"].isin(set(made.loc[kept, "entity"]))]
    share = able.groupby(made["text_id"]).transform("mean") / 150
    assert ((able - 150 * share).abs() < 4.5 * np.sqrt(150 * share * (1 - share)) + 1e-9).all() and share.min() > 0


def test_claims_without_label_or_belief_are_named():
    _, _, claims, _ = hand_made([1, 1, 1, 1])
    with pytest.raises(InputError, match="1 claims have no gold label, such as 't#2.0'"):
        filters.gold(claims.assign(supported=[True, False, None, True]), "threshold")
    beliefs = pd.DataFrame({"claim_id": ["t#0.0"], "scorer": ["p_true"], "belief": [0.3]})
    with pytest.raises(InputError, match="no belief of scorer 'probe'.*there: p_true"):
        filters.own_belief(claims, beliefs, "probe")
