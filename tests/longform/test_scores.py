"""Metrics and their paired intervals: against pandas, against a bootstrap in loops, and against a planted truth."""

import numpy as np
import pandas as pd
import pytest

from slick_jax.longform import score_tables
from slick_jax.longform.scores import Scores
from tests.longform import planted_study


@pytest.fixture(scope="module")
def answers():
    return planted_study.scored(n=40)


@pytest.fixture(scope="module")
def scores(answers):
    return Scores(answers, draws=300)


def own(answers, arm, domain, seed=None):
    rows = answers[(answers["arm"] == arm) & (answers["domain"] == domain) & (answers["split"] == "test")]
    rows = rows[rows["trained_on"] == ("" if arm == "BASE" else domain)]
    return rows if seed is None else rows[rows["seed"] == seed]


def test_values_are_means_over_answers_and_seeds(answers, scores):
    by_seed = [own(answers, "GEN+SELF", "plots", seed) for seed in (0, 1)]

    def value(metric):
        return scores.estimate(metric, "GEN+SELF", "plots").value

    assert value("precision") == pytest.approx(np.mean([100 * rows["precision"].mean() for rows in by_seed]))
    micro = [100 * rows["supported"].sum() / rows["claims"].sum() for rows in by_seed]
    assert value("precision_micro") == pytest.approx(np.mean(micro))
    assert value("factscore") == pytest.approx(np.mean([100 * rows["factscore"].mean() for rows in by_seed]))
    assert value("unsupported") == pytest.approx(np.mean([rows["unsupported"].mean() for rows in by_seed]))
    assert value("tokens") == pytest.approx(np.mean([rows["n_tokens"].mean() for rows in by_seed]))
    assert value("abstained") == pytest.approx(np.mean([100 * rows["abstained"].mean() for rows in by_seed]))


def test_paired_bootstrap_equals_one_in_loops(answers, scores):
    found = scores.difference("precision", "GEN+SELF", "GOLD", "leaflets")
    resampler, names = scores._resamplers["leaflets"], scores.entities["leaflets"]["entity"].tolist()
    of_seeds = resampler.of_seeds((0, 1))
    for draw in range(0, 300, 7):
        total = 0.0
        for place, seed in enumerate((0, 1)):
            for arm, sign in (("GEN+SELF", 1), ("GOLD", -1)):
                by_entity = own(answers, arm, "leaflets", seed).set_index("entity")["precision"]
                drawn = [by_entity[name] for name, n in zip(names, resampler.weights[draw], strict=True)
                         for _ in range(int(n))]  # fmt: skip
                total += sign * of_seeds[draw, place] * 100 * pd.Series(drawn).mean()
        assert found.draws[draw] == pytest.approx(total, abs=2e-3)
    assert found.n_seeds == 2 and found.low < found.value < found.high


def test_arms_that_answer_alike_differ_by_nothing(answers):
    copied = answers[answers["arm"] == "GOLD"].assign(arm="GEN")
    both = Scores(pd.concat([answers[answers["arm"] == "GOLD"], copied]), draws=200)
    assert both.difference("factscore", "GEN", "GOLD", "plots").interval == (0.0, 0.0)


def test_base_has_no_training_seed_and_goes_with_every_one(answers, scores):
    found = scores.difference("precision", "GOLD", "BASE", "plots")
    base = own(answers, "BASE", "plots")["precision"].mean()
    assert found.value == pytest.approx(scores.estimate("precision", "GOLD", "plots").value - 100 * base)
    assert found.n_seeds == 2 and scores.estimate("precision", "BASE", "plots").n_seeds == 1


def test_only_common_seeds_are_compared():
    answers = planted_study.scored(("plots",), n=20)
    part = answers[~((answers["arm"] == "GOLD") & (answers["seed"] == 1))]
    found = Scores(part, draws=50).difference("precision", "GEN", "GOLD", "plots")
    first = [100 * own(answers, arm, "plots", 0)["precision"].mean() for arm in ("GEN", "GOLD")]
    assert found.n_seeds == 1 and found.value == pytest.approx(first[0] - first[1])
    none = Scores(part[(part["arm"] != "GOLD") | (part["seed"] == 1)], draws=50)
    assert none.difference("precision", "GEN", "GOLD", "plots") is None
    assert none.estimate("precision", "GOLD", "plots") is None


def test_interval_over_entities_is_that_of_a_mean():
    answers = planted_study.scored(("plots",), n=400, arms=("GOLD",), seeds=(0,), transfer=False)
    found = Scores(answers, draws=4000).estimate("precision", "GOLD", "plots")
    precision = own(answers, "GOLD", "plots")["precision"].dropna()
    half = 196 * precision.std() / np.sqrt(len(precision))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


def test_groups_of_exposure_and_transfer(answers, scores):
    table = score_tables.by_knowledge(scores, ("precision",))
    assert table["by"].unique().tolist() == ["exposure"]
    one = table[(table["domain"] == "plots") & (table["arm"] == "GEN")]
    assert one["group"].tolist() == ["4", "16", "64"]  # every fourth entity, all of exposure 1, is in split train
    rows = own(answers, "GEN", "plots")
    by_hand = rows.groupby(["exposure", "seed"])["precision"].mean().groupby("exposure").mean() * 100
    assert one["value"].tolist() == pytest.approx(by_hand.tolist())
    across = score_tables.transfer(scores)
    assert len(across) == 3 + 7 * 9
    cell = across[(across["arm"] == "GEN+SELF") & (across["trained_on"] == "plots") & (across["domain"] == "leaflets")]
    rows = answers[(answers["arm"] == "GEN+SELF") & (answers["trained_on"] == "plots") & (answers["split"] == "test")]
    rows = rows[rows["domain"] == "leaflets"]
    assert cell["value"].item() == pytest.approx(100 * rows.groupby("seed")["precision"].mean().mean())


def test_entities_without_exposure_are_left_out_and_ties_stay_together():
    answers = planted_study.scored(("plots",), n=80, transfer=False)
    answers.loc[answers["entity"] == "plots.1", "exposure"] = None
    by, groups = score_tables.knowledge(Scores(answers, draws=20), "plots")
    assert by == "exposure" and groups.isna().sum() == 1
    base = answers["arm"] == "BASE"
    answers["exposure"], answers.loc[base, "precision"] = None, 0.0
    by, groups = score_tables.knowledge(Scores(answers, draws=20), "plots")
    assert by == "precision of BASE" and groups.nunique() == 1


def test_many_exposures_are_cut_in_thirds_and_unknown_ones_by_base():
    many = Scores(planted_study.scored(("plots",), n=80, exposures=tuple(range(1, 21)), transfer=False), draws=20)
    by, groups = score_tables.knowledge(many, "plots")
    assert by == "exposure" and groups.cat.categories[0].startswith("2-") and groups.nunique() == 3
    assert groups.value_counts().min() >= 16
    none = Scores(planted_study.scored(("plots",), n=80, exposures=(), transfer=False), draws=20)
    by, groups = score_tables.knowledge(none, "plots")
    assert by == "precision of BASE" and list(groups.cat.categories) == list(score_tables.LEVELS)
    base = none.answers[none.answers["arm"] == "BASE"].set_index("entity")["precision"]
    means = base.reindex(none.entities["plots"]["entity"]).groupby(groups.to_numpy(), observed=True).mean()
    assert means["little known"] < means["known in part"] < means["well known"]
