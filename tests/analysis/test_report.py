"""The page: opens from disk alone, escapes what it is given, says what is missing."""

import base64
import contextlib
import hashlib
import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from slick_jax.analysis import gallery, report
from slick_jax.analysis import page as page_module
from slick_jax.config import Config, StudyConfig
from slick_jax.errors import InputError
from tests.analysis import planted, whole_study

OWN_SCRIPT = (Path(page_module.__file__).parent / "templates/page.js").read_text()
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Elements and text of a page; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.scripts = [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] not in (["style"], ["template"]):
            self.text += data

    @property
    def foreign(self):
        """Scripts that are not the page's own, and links that lead out of it."""
        links = [attributes["href"] for _, attributes in self.tags if "href" in attributes]
        return [text for text in self.scripts if text.strip() != OWN_SCRIPT.strip()] + [
            link for link in links if not link.startswith(("#", "data:text/csv;base64,"))
        ]


def open_report(folder, **study):
    """Runs the command and parses the page."""
    path = report.run(Config(run_dir=str(folder), study=StudyConfig(**study)))
    return Page(path.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return planted.write_study(
        tmp_path_factory.mktemp("study"), percents=(0, 50, 100), known_only=(50,), epochs=30,
        test=(*range(1, 13), 16, 20, 24, 28, 30),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(folder):
    """(path of the report, what was printed)."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        path = report.run(Config(run_dir=str(folder)))
    return path, printed.getvalue()


@pytest.fixture(scope="module")
def page(made):
    return Page(made[0].read_text())


def test_figures_are_embedded_and_nothing_is_fetched(page, folder):
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 10
    for source in sources:
        kind, data = source.split(",", 1)
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "base")]
    assert page.foreign == [] and len(page.scripts) == 1
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")
    (policy,) = [of["content"] for tag, of in page.tags if of.get("http-equiv") == "Content-Security-Policy"]
    own = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{own}';" in policy and "unsafe" not in policy


def test_numbers_of_figures_are_in_the_page_as_they_are_in_the_files(page, folder):
    links = {of["download"]: of["href"] for _, of in page.tags if "download" in of}
    assert len(links) == 10
    for name, link in links.items():
        assert base64.b64decode(link.split(",")[1]) == (folder / "tables" / name).read_bytes()


def test_files_beside_the_page_hold_the_same_figures_and_numbers(page, folder):
    images = {path.stem for path in (folder / "figures").glob("*.png")}
    assert images == {
        "f1_curves", "f3a_budgets", "f3b_ablation", "f4_fitted", "f7a_budgets", "f7b_ablation", "saturation",
        "relations", "certainty", "t1_coefficients",
    }  # fmt: skip
    csv = {path.stem for path in (folder / "tables").glob("*.csv")}
    words = {"t1_regression", "findings", "runs", "exploding_answers", "excess_answers", "examples"}
    assert csv == images | words | {"t3_categories", "t4_categories", "t5_categories"}
    t1 = pd.read_csv(folder / "tables/t1_regression.csv")
    assert t1["split"].tolist() == ["test", "ood_test"] and t1["b_unk"].max() < 0
    assert pd.read_csv(folder / "tables/t3_categories.csv")["Total"].tolist() == [40, 40, 80]
    budgets = pd.read_csv(folder / "tables/f3a_budgets.csv").set_index("budget")
    assert budgets.loc["EARLY_STOP", "mean_low"].notna().all() and budgets.loc["30", "mean_high"].notna().all()
    assert budgets.loc["1", "mean_low"].isna().all()  # which questions were right is kept at the stopping points


def test_every_figure_has_a_caption_that_says_how_to_read_it(page):
    assert sum(tag == "figcaption" for tag, _ in page.tags) == 10
    for word in ("EARLY_STOP", "Published:", "Numbers: tables/f3a_budgets.csv", "R2", "statsmodels", "known_unknown"):
        assert word in page.text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = whole_study.write(tmp_path_factory.mktemp("whole"), seeds=(0, 1))
    return folder, open_report(folder, seeds=(0, 1))


def test_a_whole_study_misses_nothing(whole):
    folder, page = whole
    assert "Not in this report" not in page.text
    shown = {attributes.get("id") for tag, attributes in page.tags if tag in ("h2", "figure")}
    assert shown >= {"findings", "t1", "t2", "t8", "f5_auroc", "shift_summary", "explosions", "categories"}
    assert shown >= set(gallery.NEEDS)
    files = {path.stem for path in (folder / "tables").glob("*.csv")}
    assert files >= {"t2_single_categories", "t8_idk", "f5_unknown", "f5_auroc", "shift_summary", "shift_matrices"}


def test_findings_stand_first_with_effects_and_verdicts(whole):
    folder, page = whole
    heads = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert heads[:2] == ["summary", "findings"]
    table = pd.read_csv(folder / "tables/findings.csv")
    assert list(dict.fromkeys(table["finding"])) == list("abcdefghi")
    marked = [attributes["class"] for tag, attributes in page.tags if "verdict" in attributes.get("class", "")]
    verdicts = table.drop_duplicates("finding")["verdict"].str.replace(" ", "_")
    assert marked == [f"verdict {verdict}" for verdict in verdicts]
    text = (folder / "findings.md").read_text()
    for claim in table["claim"].unique():
        assert claim in page.text and claim in text
    late = table[table["effect"].str.startswith("test accuracy at CONVERGENCE, 100 %")].iloc[0]
    assert f"{late['value']:+.1f} points [{late['low']:+.1f}, {late['high']:+.1f}]" in page.text


def test_what_a_few_runs_cannot_show_is_named(page):
    for line in ("T2/T7: no finished only_HighlyKnown", "T8: needs finished runs of unknown_50 and idk_50",
                 "F5: needs a finished run of natural", "category shift: no shift-<stop>/"):  # fmt: skip
        assert line in page.text
    assert "cannot tell, needs answers of only_MaybeKnown" in page.text


def test_an_old_folder_without_answers_still_gives_its_report(folder, tmp_path):
    part = shutil.copytree(folder, tmp_path / "part")
    for path in part.glob("train/*/seed-0/answers.parquet"):
        path.unlink()
    page = open_report(part)
    assert "no answers.parquet (every answer at the stopping points)" in page.text
    assert "f3a_budgets" in {attributes.get("id") for tag, attributes in page.tags if tag == "figure"}
    table = pd.read_csv(part / "tables/findings.csv").drop_duplicates("finding").set_index("finding")["verdict"]
    assert table["a"] == "holds" and set(table.drop("a")) == {"cannot tell"}
    assert "mean_low" not in pd.read_csv(part / "tables/f3a_budgets.csv")


def test_equal_runs_make_equal_pages(made, folder):
    first = made[0].read_bytes()
    assert report.run(Config(run_dir=str(folder))).read_bytes() == first


def test_it_is_made_from_what_is_finished_and_names_the_rest(folder, tmp_path):
    part = shutil.copytree(folder, tmp_path / "part")
    for variant in ("unknown_100", "known_only_50"):
        (part / "train" / variant / "seed-0" / "result.json").unlink()
    page = open_report(part, seeds=(0, 7))
    for line in (
        "unknown_100, seed 0: unfinished, 30 epochs done", "known_only_50, seed 0: unfinished",
        "unknown_0, seed 7: not started", "F3b: no finished known_only_<X> run", "F7b: no finished known_only_<X> run",
    ):  # fmt: skip
        assert line in page.text
    assert {attributes["id"] for tag, attributes in page.tags if tag == "figure"} >= {"f1_curves", "f4_fitted"}
    # What the report of the whole study had made of them is gone.
    assert not list(part.glob("*/f?b_ablation.*")) and (part / "tables" / "f7a_budgets.csv").exists()


def test_runs_of_other_settings_are_listed_and_not_pooled(made, folder, tmp_path):
    part, before = shutil.copytree(folder, tmp_path / "part"), made[0].read_text()
    tables = {path.name: path.read_bytes() for path in (part / "tables").iterdir()}
    planted.write_run(part, "unknown_50", planted.mixture(400, 50), 5, epochs=30, peak_lr=0.01)
    page = open_report(part)
    assert "unknown_50, seed 5: finished, and left out as not comparable" in page.text
    assert page.text.count("train.peak_lr 0.01 in place of 1e-05") == 2  # among the gaps, and in a table of their own
    assert "Finished runs of other settings" in page.text and "Finished runs of other settings" not in before
    after = {path.name: path.read_bytes() for path in (part / "tables").iterdir()}
    assert pd.read_csv(part / "tables/other_runs.csv")["seed"].tolist() == [5]
    assert {name: after[name] for name in tables} == tables
    # Asked for by their seed, these are shown, and the others listed.
    page = open_report(part, variants=("unknown_50",), seeds=(5,))
    assert pd.read_csv(part / "tables/runs.csv")["seed"].tolist() == [5]
    assert len(pd.read_csv(part / "tables/other_runs.csv")) == 4
    assert "train.peak_lr 1e-05 in place of 0.01" in page.text and "F3b: no finished known_only_<X>" in page.text


def test_annotations_alone_give_the_category_tables_and_their_saturation(tmp_path):
    planted.write_annotations(tmp_path)
    page = open_report(tmp_path)
    assert "T3: train" in page.text and "T5: out-of-distribution test" in page.text
    assert "no mixtures (mixtures/manifest.json)" in page.text
    figures = [attributes["id"] for tag, attributes in page.tags if tag == "figure"]
    assert figures == ["relations", "certainty", "saturation"]
    assert "slick mix --config=" in page.text and "slick study --config=" in page.text
    shares = pd.read_csv(tmp_path / "saturation.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tables/saturation.csv"), shares)
    one_set_less, last = shares[(shares["n_samples"] == 6)]["Unknown"].iloc[-2:]
    assert f"the last exemplar set took {one_set_less - last:.1f} points out of Unknown" in page.text


def test_without_saturation_the_page_says_so_and_a_damaged_one_is_an_error(tmp_path):
    planted.write_annotations(tmp_path)
    open_report(tmp_path)
    (tmp_path / "saturation.csv").unlink()
    page = open_report(tmp_path)
    assert "no saturation.csv" in page.text and len([tag for tag, _ in page.tags if tag == "img"]) == 2
    assert not list(tmp_path.glob("*/saturation.*"))
    (tmp_path / "saturation.csv").write_text("Known\n1\n")
    with pytest.raises(InputError, match="saturation.csv: no table of n_exemplar_sets"):
        open_report(tmp_path)


def test_runs_without_dev_are_reported_without_early_stop(folder, tmp_path):
    part = shutil.copytree(folder, tmp_path / "part")
    for path in part.glob("train/*/seed-0/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"early_stop_epoch": None}))
    page = open_report(part)
    assert "there is no EARLY_STOP" in page.text and "F4: no finished" in page.text
    assert "F7a: no" not in page.text
    figures = {attributes["id"] for tag, attributes in page.tags if tag == "figure"}
    assert {"f1_curves", "f3a_budgets", "f3b_ablation"} <= figures and "f4_fitted" not in figures


def test_hostile_names_are_shown_and_not_obeyed(tmp_path):
    bad = "<script>alert('x')</script>"
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    folder.mkdir()
    planted.write_study(folder, percents=(0, 50), known_only=(), epochs=4)
    planted.write_annotations(folder, relations=(bad, '"><b>'))
    manifest = json.loads((folder / "mixtures/manifest.json").read_text())
    manifest["note"] = "</pre>" + bad
    (folder / "mixtures/manifest.json").write_text(json.dumps(manifest))
    page = open_report(folder, variants=("unknown_0", bad))
    assert page.foreign == []
    assert not [attributes for tag, attributes in page.tags if "onerror" in attributes]
    assert page.text.count(bad) >= 4  # category tables, missing runs, manifest, settings
    assert folder.name in page.text


def test_the_headlines_and_the_path_are_printed(made):
    path, out = made
    assert "points at CONVERGENCE" in out and "known_only_50" in out
    assert out.rstrip().endswith(f"report: {path}")


@pytest.mark.parametrize("run_dir", ["", "nowhere"])
def test_nothing_to_report_is_one_clear_error(tmp_path, monkeypatch, run_dir):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"config\.run_dir"):
        report.run(Config(run_dir=run_dir))
    assert list(tmp_path.iterdir()) == []


def test_a_name_the_template_is_not_given_is_an_error():
    with pytest.raises(Exception, match="undefined"):
        page_module.render("report.html", name="x")


def test_studies_without_an_out_of_distribution_test_are_told_what_is_not_there(folder, tmp_path):
    part = shutil.copytree(folder, tmp_path / "part")
    for path in part.glob("train/*/seed-0/metrics.jsonl"):
        path.write_text(path.read_text().replace('"ood_test"', '"elsewhere"'))
    page = open_report(part)
    for line in ("F7a: no finished unknown_<X> run", "F7b: no finished known_only_<X> run", "T1 for ood_test"):
        assert line in page.text
    assert "ood_test was never evaluated" not in page.text  # not a gap of single runs
