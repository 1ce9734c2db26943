"""What is read from a run folder, and what is said to be missing."""

import json
import os

import pandas as pd
import pytest

from slick_jax.analysis import runs
from slick_jax.errors import InputError
from tests.analysis import planted


def test_a_study_is_read_in_the_order_of_the_manifest(tmp_path):
    planted.write_study(tmp_path, percents=(100, 0), known_only=(50,), epochs=3)
    study = runs.read_study(tmp_path)
    assert [run.variant for run in study.runs] == ["unknown_100", "unknown_0", "known_only_50"]
    assert [run.percent for run in study.runs] == [100, 0, None]
    assert [run.known_only_percent for run in study.runs] == [None, None, 50]
    assert [run.percent for run in study.mixtures] == [0, 100]
    assert study.missing == ()
    assert len(study.annotations) == planted.TRAIN_N + planted.TEST_N + planted.OOD_N


def test_counts_and_accuracies_are_those_of_the_files(tmp_path):
    counts = planted.mixture(40, 50)
    frame = planted.write_run(tmp_path, "unknown_50", counts, epochs=8, test=(1, 4, 8))
    run = runs.read_study(tmp_path).runs[0]
    lines = [json.loads(line) for line in (tmp_path / "train/unknown_50/seed-0/metrics.jsonl").read_text().splitlines()]
    assert run.size == 40
    assert run.accuracy_at(4, "test") == pytest.approx(lines[3]["test"]["em"] * 100)
    assert run.accuracy_at(4, "test", "Unknown") == pytest.approx(1.0)
    assert pd.isna(run.accuracy_at(5, "test"))
    for epoch in (1, 8):
        here = frame[frame["epoch"] == epoch]
        unknown = here["category"] == "Unknown"
        assert run.fitted_at(epoch).loc["Unknown"].tolist() == [here[unknown]["fitted"].sum(), unknown.sum()]
        assert run.fitted_at(epoch).loc["Known"].tolist() == [here[~unknown]["fitted"].sum(), (~unknown).sum()]
    assert run.fitted_at(9).empty


def test_missing_runs_are_named_with_how_far_they_came(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(50,), epochs=5)
    (tmp_path / "train/unknown_50/seed-0/result.json").unlink()
    text = (tmp_path / "train/unknown_50/seed-0/metrics.jsonl").read_text().splitlines()
    (tmp_path / "train/unknown_50/seed-0/metrics.jsonl").write_text("\n".join([*text[:2], text[2][:20]]))  # cut off
    missing = runs.read_study(tmp_path, seeds=(0, 1)).missing
    assert "unknown_50, seed 0: unfinished, 2 epochs done; run `slick study`" in missing
    assert {line.split(":")[0] for line in missing if "not started" in line} == {
        "unknown_0, seed 1", "unknown_50, seed 1", "known_only_50, seed 1",
    }  # fmt: skip


def test_only_chosen_variants_are_missed_and_others_are_still_read(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50, 100), known_only=(), epochs=4)
    for variant in ("unknown_50", "unknown_100"):
        (tmp_path / "train" / variant / "seed-0/result.json").unlink()
    study = runs.read_study(tmp_path, variants=("unknown_100",))
    assert [run.variant for run in study.runs] == ["unknown_0"]
    assert [line.split(",")[0] for line in study.missing] == ["unknown_100"]


def test_a_stopping_point_that_was_not_evaluated_is_named(tmp_path):
    planted.write_run(tmp_path, "unknown_50", planted.mixture(40, 50), epochs=8, train=(1, 8), test=(1, 8))
    missing = "\n".join(runs.read_study(tmp_path).missing)
    assert "unknown_50, seed 0: test was not evaluated at EARLY_STOP, epoch 6" in missing
    assert "the training examples were not evaluated at EARLY_STOP, epoch 6" in missing
    assert "CONVERGENCE" not in missing


def test_a_split_that_other_runs_evaluated_is_missed(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(), epochs=3)
    path = tmp_path / "train/unknown_50/seed-0/metrics.jsonl"
    path.write_text(path.read_text().replace('"ood_test"', '"elsewhere"'))
    assert "unknown_50, seed 0: ood_test was never evaluated" in runs.read_study(tmp_path).missing


def test_runs_of_most_of_the_study_are_pooled_and_the_others_named(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(), epochs=3)
    for seed in (1, 2, 3):
        planted.write_run(tmp_path, "unknown_50", planted.mixture(400, 50), seed, epochs=3, peak_lr=0.1)
    study = runs.read_study(tmp_path)  # 3 runs of these settings, but of no seed that the study is to hold
    assert [(run.variant, run.seed) for run in study.runs] == [("unknown_0", 0), ("unknown_50", 0)]
    assert [(run.seed, difference) for run, difference in study.others] == [
        (seed, "train.peak_lr 0.1 in place of 1e-05") for seed in (1, 2, 3)
    ]
    (line,) = study.missing
    assert line.startswith("unknown_50, seed 1; unknown_50, seed 2; unknown_50, seed 3: finished, and left out")
    assert [run.seed for run in runs.read_study(tmp_path, seeds=(1, 2)).runs] == [1, 2, 3]


def test_of_equally_many_runs_the_later_ones_are_pooled(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(), epochs=3)
    path = tmp_path / "train/unknown_50/seed-0/train.json"
    path.write_text(path.read_text().replace("1e-05", "1e-04"))
    for older, newer in (("unknown_0", "unknown_50"), ("unknown_50", "unknown_0")):
        for variant, time in ((older, 1_000_000), (newer, 2_000_000)):
            os.utime(tmp_path / "train" / variant / "seed-0/result.json", (time, time))
        assert [run.variant for run in runs.read_study(tmp_path).runs] == [newer]


def test_an_empty_folder_misses_everything(tmp_path):
    study = runs.read_study(tmp_path)
    assert study.runs == () and study.annotations is None
    assert ["no mixtures" in study.missing[0], "no annotations" in study.missing[1]] == [True, True]


def test_what_was_asked_later_at_early_stop_is_taken_from_the_result(tmp_path):
    planted.write_run(tmp_path, "unknown_50", planted.mixture(40, 50), epochs=8, train=(1, 8), test=(1, 8))
    path = tmp_path / "train/unknown_50/seed-0/result.json"
    later = {
        "train": {
            "em": 0.6, "n": 40, "by_category": {"Unknown": {"em": 0.25, "n": 20}, "MaybeKnown": {"em": 1, "n": 5}},
        },
        "test": {"em": 0.31, "n": 400, "by_category": {}},
        "dev": {"em": 0.99, "n": 1, "by_category": {}},
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | {"early_stop": later, "convergence": {}}))
    study = runs.read_study(tmp_path)
    run = study.runs[0]
    assert run.accuracy_at(6, "test") == pytest.approx(31)
    assert run.fitted_at(6)["fitted"].to_dict() == {"Known": 5, "Unknown": 5}
    assert run.accuracy_at(6, "dev") < 50  # what the epoch's own line has is kept
    assert not any("EARLY_STOP" in line and "ood" not in line for line in study.missing)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("metrics.jsonl", '{"epoch": 1}\nnot json\n', "metrics.jsonl:2"),
        ("metrics.jsonl", '{"loss": 1}\n', "metrics.jsonl:1"),
        ("result.json", '{"n": 3}', "early_stop_epoch"),
        ("result.json", "{", "not valid JSON"),
        ("result.json", "[]", "expected a JSON object"),
        ("train.json", "3", "expected a JSON object"),
        ("fit.parquet", "nonsense", "not a readable Parquet"),
        ("fit.parquet", None, "missing beside a result.json"),
    ],
)
def test_a_damaged_file_of_a_finished_run_is_named(tmp_path, file, text, says):
    planted.write_run(tmp_path, "unknown_50", planted.mixture(40, 50), epochs=2)
    path = tmp_path / "train/unknown_50/seed-0" / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=says.replace(".", r"\.")) as error:
        runs.read_study(tmp_path)
    assert file in str(error.value)


def test_the_rule_chooses_the_category_column(tmp_path):
    planted.write_annotations(tmp_path)
    strict = runs.read_study(tmp_path, rule="strict_")
    assert set(strict.annotations["category"]) == {"Unknown"}
    assert strict.saturation is None  # saturation.csv is of the other rule
    assert len(set(runs.read_study(tmp_path).annotations["category"])) > 1


def test_rows_without_a_category_count_as_neither_known_nor_unknown(tmp_path):
    planted.write_run(tmp_path, "unknown_50", {"HighlyKnown": 4, None: 3}, epochs=2)
    run = runs.read_study(tmp_path).runs[0]
    assert run.fitted_at(2)["n"].to_dict() == {"Known": 4}


def test_a_run_without_dev_has_no_early_stop_and_says_so(tmp_path):
    planted.write_run(tmp_path, "unknown_50", planted.mixture(40, 50), epochs=3)
    path = tmp_path / "train/unknown_50/seed-0/result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"early_stop_epoch": None}))
    study = runs.read_study(tmp_path)
    run = study.runs[0]
    assert run.early_stop is None and run.fitted_at(None).empty and pd.isna(run.accuracy_at(None, "test"))
    assert any("never evaluated, so there is no EARLY_STOP" in line for line in study.missing)
