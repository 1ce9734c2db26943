"""result.json of planted lines: stopping points, epochs to fit counted by hand, the text of it."""

import pytest

from slick_jax.config import TrainConfig
from slick_jax.training import result
from slick_jax.training.mixture_file import MixtureRow

RIGHT = {  # of 10 HighlyKnown, 10 WeaklyKnown and 30 Unknown examples, by epoch
    1: (9, 1, 0),
    2: (10, 5, 14),
    3: (10, 8, 15),
    4: (10, 9, 27),
    6: (10, 7, 26),
}
CATEGORIES = {"HighlyKnown": 10, "WeaklyKnown": 10, "Unknown": 30}
DEV = {1: 0.3, 2: 0.5, 4: 0.5, 6: 0.2}


def rate(em, n, **more):
    return {"em": em, "n": n, "abstained": 0.0, "by_category": {}, "by_relation": {}, **more}


@pytest.fixture
def found():
    lines = []
    for epoch, counts in RIGHT.items():
        of = {name: {"em": k / n, "n": n} for k, (name, n) in zip(counts, CATEGORIES.items(), strict=True)}
        line = {"epoch": epoch, "loss": 1.0, "train": rate(sum(counts) / 50, 50, by_category=of)}
        lines.append(line | ({"dev": rate(DEV[epoch], 40)} if epoch in DEV else {}))
    # What is asked later, at EARLY_STOP, stands behind the other lines.
    later = next(line for line in lines if line["epoch"] == 2).pop("train")
    lines.append({"epoch": 2, "train": later, "test": rate(0.25, 8)})
    rows = [MixtureRow(f"{c}{i}", "p", "c", "c", category=c) for c, n in CATEGORIES.items() for i in range(n)]
    rows.append(MixtureRow("own", "p", "c", "c"))
    return result.summarise("mine", TrainConfig(epochs=6, seed=3), rows, lines)


def test_stopping_points_and_counts(found):
    assert (found["early_stop_epoch"], found["convergence_epoch"]) == (2, 6)  # the first of equal dev scores
    assert found["early_stop"]["test"]["em"] == 0.25 and found["convergence"]["dev"]["em"] == 0.2
    assert (found["n"], found["n_known"], found["n_unknown"], found["percent_unknown"]) == (51, 20, 30, 60.0)


def test_epochs_to_fit_half_and_nearly_all_of_a_group(found):
    assert found["fit_epochs"] == {
        "50": {"Known": 1, "HighlyKnown": 1, "WeaklyKnown": 2, "Unknown": 3},
        "90": {"Known": 3, "HighlyKnown": 1, "WeaklyKnown": 4, "Unknown": 4},
    }


def test_the_text_names_them(found):
    text = result.text(found)
    assert "50 % fitted at epoch: Known 1, Unknown 3" in text
    assert "90 % fitted at epoch: Known 3, Unknown 4, HighlyKnown 1" in text
    assert "EARLY_STOP (epoch 2): dev 50.0 %, train 58.0 %, test 25.0 %" in text


def test_what_was_never_asked_is_not_told(found):
    told = result.text(found | {"early_stop_epoch": None, "early_stop": {}})
    assert "EARLY_STOP" not in told and "CONVERGENCE (epoch 6)" in told
