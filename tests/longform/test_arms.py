"""The seven arms of a planted domain: sources, prompts, lengths, splits, and the files that training reads."""

import pandas as pd
import pytest

from slick_jax.errors import InputError
from slick_jax.longform import arm_files, splits
from slick_jax.longform.arms import ARMS, build
from slick_jax.settings.longform import FilterConfig
from slick_jax.training.mixture_file import read_mixture
from tests.longform.planted_texts import Domain, count, truthful, words

NAMES = tuple(arm.name for arm in ARMS)


def built(domain, arms=NAMES, **settings):
    return build(*domain.tables, arms=arms, filter=FilterConfig(**settings), count_tokens=count)


@pytest.fixture(scope="module")
def domain():
    return Domain(n=200, samples=2)


@pytest.fixture(scope="module")
def arms(domain):
    return built(domain)


def test_arms_have_the_same_prompts_all_of_split_train(domain, arms):
    split = domain.entities.set_index("id")["split"]
    prompts = {name: set(rows["entity"]) for name, rows in arms.texts.items()}
    assert list(prompts) == [arm.name for arm in ARMS]
    assert len(set(map(frozenset, prompts.values()))) == 1
    assert set(split[list(prompts["GOLD"])]) == {"train"}
    assert len(prompts["GOLD"]) + len(arms.left_out) == (split == "train").sum() == arms.entities["train"]
    assert all(len(rows) == rows["entity"].nunique() for rows in arms.texts.values())


def test_arms_are_within_five_percent_in_tokens_of_whole_sentences(domain, arms):
    totals = {name: sum(map(words, rows["completion"])) for name, rows in arms.texts.items()}
    assert max(totals.values()) <= 1.05 * min(totals.values())
    whole = {text: set() for text in domain.texts["id"]}
    for row in domain.sentences.itertuples():
        whole[row.text_id].add(row.words)
    for rows in arms.texts.values():
        for row in rows.itertuples():
            told = [f"{sentence} end." for sentence in row.completion.removesuffix(" end.").split(" end. ")]
            assert set(told) <= whole[row.text_id] and len(told) == row.n_sentences
            assert [int(one.split()[1][1:]) for one in told] == sorted(int(one.split()[1][1:]) for one in told)
            assert row.n_tokens == words(row.completion)


def test_arms_take_their_own_source_and_filter(arms):
    for arm in ARMS:
        assert arms.texts[arm.name]["text_id"].str.contains(f"/{arm.source}/").all()
    kept = arms.kept
    assert kept["GOLD"]["percent_supported"] == 100 and kept["GEN+GOLD"]["percent_supported"] == 100
    assert kept["GEN"]["percent_claims_kept"] == kept["GOLD"]["percent_claims_kept"] == 100
    assert kept["GEN"]["percent_claims_kept_of_source"] == 100 > kept["GEN+SELF"]["percent_claims_kept_of_source"]
    assert kept["GEN+SELF"]["percent_supported"] > kept["GEN+RANDOM"]["percent_supported"] + 5
    assert kept["GEN+SELF"]["mean_belief"] > kept["GEN"]["mean_belief"] > 0
    for source in ("GEN", "GOLD"):  # as large a share of what is trained on, to half a sentence
        found = [kept[f"{source}+{keeps}"]["percent_claims_kept"] for keeps in ("SELF", "RANDOM")]
        assert found[0] == pytest.approx(found[1], abs=0.3) and 20 < found[0] < 95
    assert kept["GEN+RANDOM"]["percent_claims_kept_of_source"] is None


def test_a_control_is_like_its_filter_also_where_that_is_no_arm(domain, arms):
    alone = built(domain, ("GEN", "GEN+RANDOM"), match="none")
    both = built(domain, ("GEN", "GEN+SELF", "GEN+RANDOM"), match="none")
    assert list(alone.texts) == ["GEN", "GEN+RANDOM"]
    assert alone.texts["GEN+RANDOM"].equals(both.texts["GEN+RANDOM"]) and len(both.texts["GEN+RANDOM"])


@pytest.mark.parametrize("granularity", ["sentence", "claim", "response"])
def test_belief_that_equals_truth_trains_on_the_same_texts(granularity):
    arms = built(truthful(samples=2), ("GEN+GOLD", "GEN+SELF"), granularity=granularity, match="none")
    assert arms.texts["GEN+SELF"].equals(arms.texts["GEN+GOLD"]) and len(arms.texts["GEN+SELF"])


def test_the_first_samples_with_kept_text_are_taken(domain):
    one, two = (built(domain, arms=("GEN+SELF",), match="none", texts_per_prompt=n).texts["GEN+SELF"] for n in (1, 2))
    assert set(one["text_id"]) < set(two["text_id"]) and two.groupby("entity").size().max() == 2
    assert one.set_index("text_id")["completion"].equals(two.set_index("text_id")["completion"].loc[one["text_id"]])


def test_nothing_left_is_an_error_that_says_for_which_arm():
    domain = Domain(belief=lambda supported, rng: 0.2 + 0.1 * rng.random())
    with pytest.raises(InputError, match=r"no prompt has a text in every arm \(of 16 .*GEN 16.*GEN\+SELF 0.* arm out$"):
        built(domain)
    with pytest.raises(InputError, match="arm out; belief of probe is 0.200 for all claims, as it ranks those of sp"):
        built(Domain(belief=lambda supported, rng: 0.2))


def test_an_entity_in_two_splits_is_named_whatever_its_id(domain):
    entities = domain.entities.copy()
    entities.loc[4, "name"] = entities.loc[1, "name"].upper()  # test and train
    with pytest.raises(InputError, match=r"one name in two splits: plots.1 \(train\), plots.4 \(test\)"):
        build(entities, *domain.tables[1:], arms=NAMES, filter=FilterConfig(), count_tokens=count)


def test_one_prompt_for_all_is_told_in_a_line(domain):
    entities = domain.entities.assign(prompt="Tell of a film.")
    with pytest.raises(InputError, match=r"plots.5 \(probe\) and 194 more; a prompt must name its entity$"):
        splits.check_disjoint(entities)


def test_domains_that_share_an_entity_are_told_where_models_answer_about_others(domain):
    entities = pd.concat([domain.entities, Domain(name="films").entities], ignore_index=True)
    entities.loc[entities["id"] == "films.4", "name"] = "film PLOTS 1"  # test and train
    splits.check_disjoint(entities)
    with pytest.raises(InputError, match=r"(?s)longform.transfer=.*one name in two splits: plots.1 \(train\), films.4"):
        splits.check_disjoint(entities, across=True)


def test_rows_of_another_split_are_named(domain):
    with pytest.raises(InputError, match=r"arm GOLD may .* 'train' only, found 2 others: plots.4 \(test\), x"):
        splits.check_within(["plots.1", "plots.4", "plots.4", "x"], domain.entities, "train", "arm GOLD")


def test_files_are_mixtures_that_training_reads(domain, arms, tmp_path):
    manifest = arm_files.write(tmp_path, arms, domain.entities, FilterConfig(), made_by={"verifier": "exact"})
    rows = read_mixture(tmp_path / "gen_self.jsonl")
    texts = arms.texts["GEN+SELF"].set_index("text_id")
    assert len(rows) == len(texts) == manifest["arms"]["GEN+SELF"]["texts"]
    for row in rows:
        assert row.completion == texts.loc[row.id, "completion"] and row.relation == "plots"
        assert row.prompt == f"Tell of film plots {texts.loc[row.id, 'entity'][6:]}.\n"
    assert manifest["arms"]["GEN+SELF"]["tokens"] == sum(map(words, texts["completion"]))
    assert manifest["entities"] == {"dev": 40, "probe": 40, "test": 40, "train": 80}
    table = arm_files.training_table({"plots": manifest})
    assert len(table) == 7 and (table["tokens_per_text"] > 0).all()
    assert 0 < manifest["arms"]["GEN"]["percent_claims_trained_on"] < 100
    # a missing file is made again, one that was changed is told
    made_by = {"verifier": "exact"}
    assert arm_files.read(tmp_path, made_by) == manifest and arm_files.read(tmp_path, {"verifier": "x"}) is None
    file = tmp_path / "gen.jsonl"
    content = file.read_text()
    file.write_text(content.replace("plots", "plot", 1))
    with pytest.raises(InputError, match=r"gen\.jsonl: was changed since it was made; remove it"):
        arm_files.read(tmp_path, made_by)
    file.unlink()
    assert arm_files.read(tmp_path, made_by) is None
    # the same arms again are no error, others are
    arm_files.write(tmp_path, arms, domain.entities, FilterConfig(), made_by={"verifier": "exact"})
    other = FilterConfig(threshold=0.6)
    with pytest.raises(InputError, match="holds other arms .different: filter, made_by"):
        arm_files.write(tmp_path, arms, domain.entities, other, made_by={"verifier": "bm25"})
