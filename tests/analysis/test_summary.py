"""The top of the page: numbers with their intervals, and the commands for what is missing."""

import pandas as pd
import pytest
from etils import epath

from slick_jax.analysis import evidence, findings, regression, runs, summary, tables, two_stages
from slick_jax.categories import CATEGORIES
from slick_jax.errors import InputError
from tests.analysis import planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return planted.write_study(tmp_path_factory.mktemp("study"), percents=(0, 50), known_only=(), epochs=4)


def test_tiles_are_shares_and_effects_with_their_intervals(folder):
    study = runs.read_study(folder)
    nine = findings.nine(evidence.gather(study), regression.table_one(study)[0])
    first, cost, later, held = summary.tiles(study, nine)
    assert first.number == "25 %" and "of 80 train questions" in first.what and "[17, 35]" in first.what
    effect = nine[1].effects[0]
    assert cost.number == f"{effect.value:+.1f} points" and f"{effect.low:+.1f}, {effect.high:+.1f}" in cost.what
    assert later.number.endswith("epochs")
    assert int(held.number) == sum(one.verdict == "holds" for one in nine)


def test_shares_have_wilson_intervals():
    # By hand: centre (p + z^2/2n) / (1 + z^2/n) = 0.3049, half-width 0.1744, with p = 0.25, n = 20, z = 1.96.
    assert tables.share(5, 20) == pytest.approx((25, 11.19, 46.87), abs=0.01)


def test_the_worst_relations_are_named_where_the_data_tell_them_apart():
    def asked(unknown):
        rows = [(name, "Unknown" if i < n else "HighlyKnown") for name, n in unknown.items() for i in range(100)]
        return runs.Study({}, pd.DataFrame(rows, columns=["relation", "category"]).assign(split="train"), (), ())

    told = summary.sentences(asked({"P1": 90, "P2": 10, "P3": 50}))
    assert "most is Unknown of P1 (90 % [83, 94]), P3" in told[-1] and "least of P2 (10 %" in told[-1]
    assert len(summary.sentences(asked({"P1": 52, "P2": 48}))) == 1


def test_commands_are_those_for_what_is_missing(folder):
    study = runs.read_study(folder)
    assert summary.commands(study, "x", True) == []
    (one,) = summary.commands(study, "x", False)
    assert one[0] == "slick annotate --config=<your config> --config.run_dir=x --config.annotate.answers=greedy"
    alone = runs.Study({}, study.annotations.drop(columns="p_true"), (), ())
    said = [command.split()[1] for command, _ in summary.commands(alone, "x", True)]
    assert said == ["mix", "study", "annotate"]
    said = [command.split()[1] for command, _ in summary.commands(runs.Study({}, None, (), ()), "x", True)]
    assert said == ["annotate", "mix", "study"]


def test_two_stages_are_shown_with_the_range_of_their_seeds(tmp_path):
    for seed, accuracy in ((0, 40.0), (1, 44.0)):
        place = tmp_path / "gradual" / f"seed-{seed}"
        place.mkdir(parents=True)
        rows = [
            {"variant": variant, "stop": "EARLY_STOP", "epoch": 3, "split": "test", "questions": 400,
             "accuracy": accuracy + more, **dict.fromkeys(CATEGORIES, 50.0)}
            for variant, more in (("all_MaybeKnown", 0), ("gradual", 2))
        ]  # fmt: skip
        pd.DataFrame(rows).to_csv(place / "summary.csv", index=False)
    table = two_stages.read(epath.Path(tmp_path))
    assert len(table) == 4
    shown = two_stages.as_printed(table).set_index("stage")
    assert shown.loc["gradual", "accuracy"] == "44.0 [42.0, 46.0]" and shown.loc["gradual", "Unknown"] == "50.0"
    (tmp_path / "gradual/seed-0/summary.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="slick gradual"):
        two_stages.read(epath.Path(tmp_path))
    assert two_stages.as_printed(two_stages.read(epath.Path(tmp_path / "none"))).empty
