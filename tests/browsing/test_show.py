"""slick show: everything about one example, its nearest ids, and damage."""

import pytest

from slick_jax.main import main
from tests.browsing.planted_runs import write


@pytest.fixture
def show(tmp_path, capsys):
    """Runs `slick show` on a planted run folder; returns (status, stdout, stderr)."""
    write(tmp_path / "runs/first")

    def call(*arguments):
        status = main(["show", *arguments])
        return status, *capsys.readouterr()

    return call


def test_everything_about_a_training_example(show, tmp_path):
    status, out, _ = show("author.2", f"--run_dir={tmp_path}/runs/first")
    assert status == 0
    for expected in (
        "question    Who is author.2?", "answers     Mr author.2 | X", "relation    author", "category    MaybeKnown",
        "P_Correct   greedy 0.500, sampled 0.167, exact 0.200",
        "certainty   HighlyKnown 0.100, MaybeKnown 0.200, WeaklyKnown 0.300, Unknown 0.400", "P(True)     0.750",
        "abstained   50%", "set 4: greedy right, 1 of 3 samples right", "greedy answer: 'Mr author.2'",
        "samples: 2 x 'a', 1 x 'b'", "author.9: Who wrote nine? Ms Nine", "set 7: greedy wrong, 0 of 3 samples right",
        "unknown_50, taught as 'Mr'", "unknown_50, seed 0: fitted by epoch 2; right at the end (epoch 3)",
    ):  # fmt: skip
        assert expected in out, expected


def test_a_held_out_question_and_one_without_answers(show, tmp_path):
    status, out, _ = show("author.1", f"--run_dir={tmp_path}/runs/first")
    assert status == 0 and "its answers were not kept" in out and "mixtures" not in out
    assert "EARLY_STOP (epoch 2): 'Mr author.1', right; CONVERGENCE (epoch 3): 'Mr Wrong', wrong" in out


def test_the_newest_run_is_shown_by_itself(show, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = show("capital.1")
    assert status == 0 and out.startswith("capital.1, in runs/first\n")


def test_an_unknown_id_names_the_nearest(show, tmp_path):
    status, _, err = show("autor.2", f"--run_dir={tmp_path}/runs/first")
    assert status == 2 and "no example 'autor.2' among its 4; the nearest ids are author.2" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("a", "--config=x"), ("a", "--run_dir=/absent")])
def test_other_arguments_are_bad_input(show, arguments):
    status, _, err = show(*arguments)
    assert status == 2 and err.startswith("error: ")


@pytest.mark.parametrize(
    "file", ["exemplars.json", "samples/part-00000.parquet", "mixtures/unknown_50.parquet",
             "train/unknown_50/seed-0/fit.parquet"],
)  # fmt: skip
def test_a_damaged_file_is_told_in_its_place(show, tmp_path, file):
    (tmp_path / "runs/first" / file).write_bytes(b'["')
    status, out, _ = show("author.2", f"--run_dir={tmp_path}/runs/first")
    assert status == 0 and out.count("damaged: ") == 1 and file in out and "question    Who is author.2?" in out
