"""answers.parquet, shift annotations and annotations.parquet, read from hand-made files."""

import pandas as pd
import pytest
from etils import epath

from slick_jax.analysis import annotated, evidence, outcomes, runs
from slick_jax.errors import InputError
from tests.analysis import planted


def write(path, **changes):
    """Three questions at one stop, not in the order of their ids."""
    table = pd.DataFrame({
        "stop": "CONVERGENCE", "epoch": 5, "split": "test", "id": ["c", "a", "b"], "relation": "r",
        "category": ["Unknown", None, "MaybeKnown"], "hit": [True, False, True], "strict_hit": False,
        "abstained": [False, True, False], "answer": ["x", None, "y"],
    })  # fmt: skip
    table.assign(**changes).to_parquet(path)
    return epath.Path(path)


def test_questions_stand_in_one_order_for_all_runs(tmp_path):
    first = outcomes.read_answers(write(tmp_path / "one.parquet"))
    other = outcomes.read_answers(write(tmp_path / "two.parquet", id=["a", "b", "c"]))
    found = outcomes.collect({("v", 0): first, ("v", 3): other}, "test")
    assert found.questions["id"].tolist() == ["a", "b", "c"]
    assert found.of("v", "CONVERGENCE", (0, 3)).tolist() == [[False, True, True], [True, False, True]]
    assert found.answered_of("v", "CONVERGENCE", (0,)).tolist() == [[False, True, True]]
    assert found.mask("Unknown").tolist() == [False, False, True] and found.mask(None).all()
    assert found.seeds("v", stops=["CONVERGENCE"]) == (0, 3) and found.seeds("v") == ()
    assert outcomes.collect({("v", 0): first}, "ood_test") is None


def test_runs_that_were_asked_other_questions_are_an_error(tmp_path):
    first = outcomes.read_answers(write(tmp_path / "one.parquet"))
    other = outcomes.read_answers(write(tmp_path / "two.parquet", id=["a", "b", "z"]))
    with pytest.raises(InputError, match="w, seed 1: answers.parquet holds other test questions at CONVERGENCE"):
        outcomes.collect({("v", 0): first, ("w", 1): other}, "test")


def test_damaged_answers_are_named(tmp_path):
    assert outcomes.read_answers(epath.Path(tmp_path / "none.parquet")) is None
    with pytest.raises(InputError, match="twice at one stop"):
        outcomes.read_answers(write(tmp_path / "twice.parquet", id="a"))
    path = write(tmp_path / "less.parquet")
    pd.read_parquet(path).drop(columns=["hit", "abstained"]).to_parquet(path)
    with pytest.raises(InputError, match="no column hit, abstained"):
        outcomes.read_answers(path)


def test_only_seeds_that_all_compared_variants_have_are_compared(tmp_path):
    for seed in (0, 1):
        planted.write_run(tmp_path, "unknown_0", planted.mixture(40, 0), seed, epochs=8)
    planted.write_run(tmp_path, "unknown_100", planted.mixture(40, 100), 1, epochs=8)
    gathered = evidence.gather(runs.read_study(tmp_path))
    assert gathered.outcomes["test"].seeds("unknown_0", "unknown_100") == (1,)
    assert gathered.has("test", "unknown_0", "unknown_100") and not gathered.has("test", "unknown_0", "natural")
    by_stop = gathered.by_stop("test").set_index(["percent_unknown", "data", "stop"])
    assert by_stop.loc[(0, "D", "EARLY_STOP"), "seeds"] == 2 and by_stop.loc[(100, "D", "EARLY_STOP"), "seeds"] == 1
    assert by_stop.loc[(0, "D_Known", "EARLY_STOP"), "accuracy"] == by_stop.loc[(0, "D", "EARLY_STOP"), "accuracy"]


def test_accuracies_of_the_answers_are_those_of_the_metrics(tmp_path):
    planted.write_study(tmp_path, percents=(0, 100), known_only=(), epochs=8)
    study = runs.read_study(tmp_path)
    gathered = evidence.gather(study)
    for run in study.runs:
        for split in runs.TESTS:
            found = gathered.accuracy(split, run.variant, "CONVERGENCE")
            assert found.value == pytest.approx(run.accuracy_at(8, split), abs=0.26)  # a question is 0.25 or 0.5
            assert found.low < found.value < found.high


def test_old_runs_without_answers_are_named_together(tmp_path):
    planted.write_study(tmp_path, percents=(0, 50), known_only=(), epochs=3, answers=None)
    study = runs.read_study(tmp_path)
    (line,) = study.missing
    assert line.startswith("unknown_0, seed 0; unknown_50, seed 0: no answers.parquet")
    assert evidence.gather(study).outcomes == {} and evidence.gather(study).by_stop("test").empty


def test_sets_with_a_right_answer_are_counted_for_the_rule(tmp_path):
    rows = {
        "id": ["a", "b"], "split": "test", "relation": "r", "category": ["MaybeKnown", "WeaklyKnown"],
        "strict_category": "Unknown", "p_correct_greedy": [0.3, 0.0], "strict_p_correct_greedy": 0.0, "p_true": 0.5,
        "greedy_hits": [[True, False, False], [False] * 3],
        "sampled_hits": [[[False, False], [True, False], [False, False]], [[False, False]] * 2 + [[False, True]]],
        "strict_greedy_hits": [[False] * 3] * 2, "strict_sampled_hits": [[[False] * 2] * 3] * 2,
    }  # fmt: skip
    path = epath.Path(tmp_path / "annotations.parquet")
    pd.DataFrame(rows).to_parquet(path)
    table = annotated.read(path, "")
    assert table[["hit_sets", "n_sets"]].to_numpy().tolist() == [[2, 3], [1, 3]]
    assert table["p_correct_greedy"].tolist() == [0.3, 0.0] and "p_correct_exact" not in table
    strict = annotated.read(path, "strict_")
    assert strict["hit_sets"].tolist() == [0, 0] and strict["p_correct_greedy"].tolist() == [0.0, 0.0]
    pd.DataFrame(rows | {"sampled_hits": [None, rows["sampled_hits"][1]]}).to_parquet(path)
    assert "hit_sets" not in annotated.read(path, "")


def test_a_tuned_models_annotations_are_read_by_the_rule(tmp_path):
    place = tmp_path / "shift-CONVERGENCE"
    place.mkdir()
    table = pd.DataFrame({"id": ["a"], "split": "test", "relation": "r", "category": "Unknown"})
    table.assign(strict_category="MaybeKnown").to_parquet(place / "annotations.parquet")
    found = outcomes.read_shifts(epath.Path(tmp_path), "strict_")
    assert set(found) == {"CONVERGENCE"} and found["CONVERGENCE"]["category"].tolist() == ["MaybeKnown"]
    table.drop(columns="category").to_parquet(place / "annotations.parquet")
    with pytest.raises(InputError, match="no column category"):
        outcomes.read_shifts(epath.Path(tmp_path), "")
