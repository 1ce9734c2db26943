"""The page of a planted study: what it says, what it says is missing, and the files beside it."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from slick_jax.analysis import palette
from slick_jax.config import Config
from slick_jax.longform import checks, figures, gallery, page_tables, report, score_tables, summary
from slick_jax.longform.arms import NAMES
from slick_jax.longform.scores import Scores
from slick_jax.settings.longform import FilterConfig, LongformConfig
from tests.analysis.test_palette import lab
from tests.analysis.test_report import Page
from tests.longform import planted_study

METHOD = {"Claims": "sentence by sentence (a fallback: <no> second checkpoint)", "Verifier": "BM25, top 5"}


@pytest.fixture(scope="module")
def study():
    measures, bins = planted_study.belief()
    return report.Study(
        "planted", planted_study.scored(n=60), planted_study.training(), measures, bins,
        sentences=pd.DataFrame({"domain": ["biographies"] * 100 + ["plots"] * 2, "parsed": [True] * 97 + [False] * 3
                                + [None, None]}),
        method=METHOD, skipped=pd.DataFrame({"domain": ["plots"], "what": ["samples at the token limit"], "n": [7]}),
        config={"longform": {"granularity": "sentence"}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report.write(folder, study)
    return folder


def test_page_names_the_method_the_verdicts_and_what_was_skipped(folder):
    page = Page((folder / "report/index.html").read_text())
    for words in (*METHOD.values(), "GEN+SELF > GOLD", "samples at the token limit", "the domain has no grammar"):
        assert words in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 6 and "Not in this report" not in page.text
    assert page.foreign == [] and not [tag for tag, _ in page.tags if tag == "link"]
    assert {path.stem for path in (folder / "figures").iterdir()} == set(gallery.NEEDS)


def test_tables_hold_the_numbers_of_the_page(folder):
    names = {path.stem for path in (folder / "tables").iterdir()}
    made = {"by_arm", "differences", "knowledge", "transfer", "training", "belief", "skipped", "validity", "direction"}
    assert names == made | set(gallery.NEEDS)
    table = pd.read_csv(folder / "tables/by_arm.csv")
    assert table.groupby("domain")["arm"].unique().map(list).tolist() == [list(NAMES)] * 3
    page = Page((folder / "report/index.html").read_text())
    one = table[(table["domain"] == "plots") & (table["arm"] == "GEN+SELF") & (table["metric"] == "precision")].iloc[0]
    assert f"{one['value']:.1f} [{one['low']:.1f}, {one['high']:.1f}]" in page.text
    validity = pd.read_csv(folder / "tables/validity.csv")
    assert validity[validity["domain"] == "biographies"]["value"].iloc[0] == 97
    parsed = table[table["metric"] == "parsed"]
    assert len(parsed) == 3 * len(NAMES) and parsed["value"].between(80, 95).all()
    assert f"{parsed['value'].iloc[0]:.1f} [" in page.text and "sentences that parse (%)" in page.text
    assert "minus that of" in page.text and "0.050 [0.030, 0.070]" in page.text
    assert "**(a)" in (folder / "direction.md").read_text()


def test_what_is_not_there_is_named_and_its_old_files_are_removed(study, folder, capsys):
    answers = study.answers[(study.answers["trained_on"].isin(["", study.answers["domain"].iloc[0]]))
                            & (study.answers["domain"] == study.answers["domain"].iloc[0])
                            & ~study.answers["arm"].isin(["GEN", "BASE"])]  # fmt: skip
    bare = dataclasses.replace(
        study, answers=answers, belief=pd.DataFrame(), reliability=pd.DataFrame(), skipped=pd.DataFrame(),
        training=pd.DataFrame(), sentences=None, missing=["seed 1 was stopped"],
    )  # fmt: skip
    page = Page(report.write(folder, bare).read_text())
    for words in ("biographies: no answers of BASE, GEN", "seed 1 was stopped", gallery.NEEDS["transfer"],
                  gallery.NEEDS["reliability"], "it is not known how much the arms were trained on"):  # fmt: skip
        assert words in page.text
    assert {path.stem for path in (folder / "figures").iterdir()} == {"precision", "volume", "knowledge"}
    assert not (folder / "tables/belief.csv").exists()
    assert "cannot tell" in capsys.readouterr().out


def test_what_has_no_place_and_what_filters_by_nothing_is_told(study, tmp_path):
    answers = study.answers.assign(exposure=float("nan"))
    silent = (answers["arm"] == "BASE") & (answers["entity"] == "plots.1")
    answers.loc[silent, ["claims", "supported", "abstained", "precision", "factscore"]] = [0, 0, True, None, None]
    answers = answers[(answers["domain"] == "plots") & answers["trained_on"].isin(["", "plots"])]
    bare = dataclasses.replace(study, answers=answers, flat=["plots"], alike=["plots"])
    page = Page(report.write(tmp_path, bare).read_text())
    gone = answers[(answers["arm"] == "BASE") & (answers["claims"] == 0)]["entity"].nunique()
    assert f"plots: {gone} of 45 entities are left out where they are grouped by precision of BASE" in page.text
    assert "plots: probe ranks claims of split dev no better than chance" in page.text
    assert "plots: all arms give the same answers, word for word" in page.text


def test_belief_that_filters_is_flat_where_it_is_one_value():
    def flat(scorer):
        config = Config(longform=LongformConfig(filter=FilterConfig(scorer=scorer)))
        return summary._flat(SimpleNamespace(config=config, believed=lambda source: (beliefs, "")))

    beliefs = pd.DataFrame({"scorer": ["probe", "p_true"] * 2, "belief": [0.3, 0.3, 0.3, 0.6]})
    assert flat("probe") and not flat("p_true")


def test_arms_are_alike_where_all_that_were_trained_there_say_the_same():
    def alike(*told):
        texts = [[SimpleNamespace(text=one) for one in of] for _, _, of in told]
        made = [summary.Answered(arm, on, 0, of, None) for (arm, on, _), of in zip(told, texts, strict=True)]
        return summary._alike(SimpleNamespace(name="plots"), made)

    base, gold = ("BASE", "", "xy"), ("GOLD", "plots", "ab")
    assert alike(base, gold, ("GEN", "plots", "ab"), ("GEN", "leaflets", "cd"))
    assert not alike(base, gold, ("GEN", "plots", "ac")) and not alike(base, gold)


def test_a_study_that_fails_its_checks_says_so(study, tmp_path):
    low = planted_study.scored(("plots",), n=40, precision={"BASE": 0.2}, transfer=False)
    page = Page(report.write(tmp_path, dataclasses.replace(study, answers=low)).read_text())
    assert "not valid by its own checks" in page.text and "precision of BASE" in page.text


def test_a_verifier_that_cannot_judge_and_a_silent_base_are_told(study):
    belief = study.belief.assign(value=study.belief["value"].where(study.belief["measure"] != "supported", 0.3))
    answers = study.answers[study.answers["domain"] == "plots"].copy()
    columns = ["claims", "supported", "abstained", "precision", "factscore"]
    answers.loc[answers["arm"] == "BASE", columns] = [0, 0, True, None, None]
    found = checks.validity(Scores(answers, draws=50), study.sentences, belief, "probe").set_index("check")
    verifier, base = found.loc["claims of references that are supported"], found.loc["precision of BASE"]
    assert not verifier["passed"] and verifier["value"] == pytest.approx(30) and verifier["least"] == 80
    assert base["passed"] is None and base["reason"] == "BASE made no claim"


def test_nothing_is_not_minus_nothing():
    row = {"metric": "precision", "one": "GOLD", "other": "GEN+SELF", "domain": "plots", "value": 0.0, "low": -1.0,
           "high": 0.04}  # fmt: skip
    table = page_tables.pairs(pd.DataFrame([row]))
    assert table.loc[0, "precision, mean over answers (points)"] == "0.0 [0.0, 1.0]"


def test_an_arm_looks_the_same_in_every_figure(study):
    scores = Scores(study.answers, draws=50)
    for figure in (figures.volume_figure(score_tables.by_arm(scores)),
                   figures.knowledge_figure(score_tables.by_knowledge(scores))):  # fmt: skip
        for axes in figure.axes:
            assert axes.get_xlabel()
            for line in axes.get_lines():
                if line.get_label() in NAMES:
                    style = palette.ARM_STYLES[line.get_label()]
                    assert to_rgb(line.get_color()) == to_rgb(style["color"]) and line.get_marker() == style["marker"]


def test_arms_can_be_told_apart_in_grey():
    looks = {(style["marker"], str(style["linestyle"])) for style in palette.ARM_STYLES.values()}
    assert len(looks) == len(NAMES) == len(palette.ARM_STYLES)
    for source in ("GOLD", "GEN"):
        grey = sorted(lab(style["color"])[0] for arm, style in palette.ARM_STYLES.items() if arm.startswith(source))
        assert min(b - a for a, b in zip(grey, grey[1:], strict=False)) >= 13
