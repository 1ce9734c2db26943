"""The nine findings on planted studies: effects by hand, verdicts by their intervals, reasons for what is missing."""

import numpy as np
import pandas as pd
import pytest

from slick_jax.analysis import evidence, findings, regression, runs, verdicts
from slick_jax.analysis.bootstrap import Estimate
from slick_jax.epochs import STOPS
from tests.analysis import planted, whole_study


def nine(folder, **options):
    """The findings by letter, and the evidence."""
    gathered = evidence.gather(runs.read_study(folder, **options))
    found = findings.nine(gathered, regression.table_one(gathered.study)[0])
    return {one.letter: one for one in found}, gathered


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return nine(whole_study.write(tmp_path_factory.mktemp("study")), seeds=whole_study.SEEDS)


def hits(gathered, variant, stop, split="test"):
    """Accuracy in percent, mean over seeds, counted in the files' tables."""
    tables = [run.answers for run in gathered.study.runs if run.variant == variant]
    return 100 * np.mean([t[(t["split"] == split) & (t["stop"] == stop)]["hit"].mean() for t in tables])


def test_a_planted_study_that_has_all_nine_shows_them(whole):
    found, _ = whole
    assert "".join(found) == "abcdefghi"
    assert {letter: one.verdict for letter, one in found.items()} == dict.fromkeys("abcdefghi", verdicts.HOLDS)
    for one in found.values():
        for effect in one.effects:
            assert effect.low <= effect.value <= effect.high and not effect.reason, effect.what


def test_effects_of_b_c_and_f_are_differences_of_the_files(whole):
    found, gathered = whole
    for letter, split in (("b", "test"), ("f", "ood_test")):
        change = {
            stop: hits(gathered, "unknown_100", stop, split) - hits(gathered, "unknown_0", stop, split)
            for stop in STOPS
        }
        late, less = found[letter].effects[:2]
        assert late.value == pytest.approx(change["CONVERGENCE"]) and late.sign == -1
        assert less.value == pytest.approx(change["EARLY_STOP"] - change["CONVERGENCE"])
    lost = {
        name: hits(gathered, name, "CONVERGENCE") - hits(gathered, name, "EARLY_STOP")
        for x in (25, 50, 75) for name in (f"unknown_{x}", f"known_only_{x}")
    }  # fmt: skip
    by_hand = np.mean([lost[f"known_only_{x}"] - lost[f"unknown_{x}"] for x in (25, 50, 75)])
    assert found["c"].effects[0].value == pytest.approx(by_hand)
    assert "25, 50, 75 % Unknown, mean" in found["c"].effects[0].what


def test_effects_of_a_are_epochs_of_the_planted_speeds(whole):
    found, _ = whole
    at_half, at_most = found["a"].effects
    # 1 - exp(-0.12 e) reaches a half after 5.8 epochs and 0.9 after 19.2; Known ones need 1 and 3 or 4.
    assert at_half.value == pytest.approx(5, abs=0.4) and at_half.unit == "epochs"
    assert at_most.value == pytest.approx(15, abs=0.7)


def test_effects_of_d_are_the_regressions(whole):
    found, gathered = whole
    row = regression.table_one(gathered.study)[0].set_index("split").loc["test"]
    known, unknown = found["d"].effects
    assert (known.value, known.low, known.high) == (row["b_kn"], row["b_kn_low"], row["b_kn_high"])
    assert unknown.high < 0 and unknown.over == "15 runs, clustered"


def test_effects_of_e_g_h_and_i_are_those_of_the_planted_models(whole):
    found, gathered = whole
    assert found["e"].effects[0].value == pytest.approx(50 - hits(gathered, "only_HighlyKnown", "EARLY_STOP"))
    assert len(found["g"].effects) == 6
    assert found["g"].effects[0].what.endswith("HighlyKnown minus MaybeKnown questions")
    against, fewer = found["h"].effects
    assert against.value < 0 and fewer.what.endswith("N_ex = 5 minus N_ex = 1")
    raised = found["i"].effects[0]
    assert raised.value == pytest.approx(200 / 3 - hits(gathered, "unknown_50", "EARLY_STOP"))


def test_the_other_way_round_nothing_holds(tmp_path):
    """Unknown examples help, more so with long training: (b), (f) and b_unk of (d) do not hold."""

    def helped(epoch, fitted, size):
        unknown = fitted.get("Unknown", 0) / size
        noise = 0.01 * np.sin(37 * epoch + 5 * unknown)
        score = 0.3 + 0.2 * unknown + 0.003 * epoch * unknown + noise
        return {"dev": 0.4 - abs(epoch - 6) / 100, "test": score, "ood_test": score}

    for percent in (0, 20, 40, 60, 80, 100):
        planted.write_run(tmp_path, f"unknown_{percent}", planted.mixture(400, percent), epochs=20, scores=helped)
    found, _ = nine(tmp_path)
    assert found["b"].verdict == verdicts.FAILS and found["f"].verdict == verdicts.FAILS
    assert found["d"].effects[1].verdict == verdicts.FAILS
    assert "only (one seed)" in found["b"].effects[0].over


def test_a_demos_few_runs_show_what_they_can_and_name_what_is_missing(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50, 100), known_only=(50,), epochs=30)
    found, _ = nine(tmp_path)
    assert {letter for letter, one in found.items() if one.verdict == verdicts.HOLDS} >= {"a", "b", "c", "g"}
    reasons = {letter: [effect.reason for effect in one.effects if effect.reason] for letter, one in found.items()}
    assert "6 runs of unknown_<X> or more" in reasons["d"][0] and not np.isnan(found["d"].effects[0].value)
    assert "only_MaybeKnown and only_HighlyKnown" in reasons["e"][0]
    assert "natural (D_Natural)" in reasons["h"][0] and "idk_50" in reasons["i"][0]
    assert all(found[letter].verdict == verdicts.OPEN for letter in "dehi")


def test_nothing_finished_tells_nothing():
    gathered = evidence.gather(runs.Study({}, None, (), ()))
    found = findings.nine(gathered, pd.DataFrame())
    assert all(one.verdict == verdicts.OPEN and effect.reason for one in found for effect in one.effects)


@pytest.mark.parametrize(
    ("sign", "low", "high", "verdict"),
    [
        (1, 0.1, 3, verdicts.HOLDS), (1, -0.1, 3, verdicts.OPEN), (1, -3, -0.1, verdicts.FAILS),
        (-1, -3, -0.1, verdicts.HOLDS), (-1, 0.1, 3, verdicts.FAILS), (-1, -3, 0, verdicts.OPEN),
        (1, 0, 0, verdicts.OPEN), (1, np.nan, np.nan, verdicts.OPEN),
    ],
)  # fmt: skip
def test_the_verdict_is_where_the_interval_lies(sign, low, high, verdict):
    assert verdicts.Effect("x", sign, "points", (low + high) / 2, low, high).verdict == verdict


def test_a_finding_is_as_strong_as_its_weakest_effect():
    effects = {name: verdicts.Effect("x", 1, "points", 1, *of) for name, of in
               {"holds": (1, 2), "open": (-1, 2), "fails": (-2, -1)}.items()}  # fmt: skip
    for names, verdict in ((["holds"] * 2, verdicts.HOLDS), (["holds", "open"], verdicts.OPEN),
                           (["holds", "open", "fails"], verdicts.FAILS)):  # fmt: skip
        assert verdicts.Finding("z", "it is so", tuple(effects[name] for name in names)).verdict == verdict


def test_sentences_table_and_markdown_say_the_same():
    holds = verdicts.measured("this minus that", -1, Estimate(-2.0, np.linspace(-4, 0, 101), 3), "40 questions")
    missing = verdicts.absent("the other", 1, "no such run")
    assert holds.sentence == (  # the 2.5 % and 97.5 % quantiles of -4, -3.96, ... 0
        "this minus that: -2.0 points [-3.9, -0.1], holds (below zero is claimed); over 3 seeds and 40 questions"
    )
    assert missing.sentence == "the other: cannot tell, no such run"
    found = [verdicts.Finding("z", "it is so", (holds, missing))]
    table = verdicts.table(found)
    assert table["of_effect"].tolist() == ["holds", "cannot tell"] and set(table["verdict"]) == {"cannot tell"}
    text = verdicts.markdown(found)
    assert "| z | it is so | cannot tell |" in text and f"- {holds.sentence}." in text
