"""A planted study with everything the paper's set has, and models that know exactly what they should."""

import json

import numpy as np

from tests.analysis import planted, planted_answers

SEEDS = (0, 1, 2)
SINGLES = {f"only_{name}": {name: 400} for name in planted.CATEGORIES[:3]}
NATURAL = {"HighlyKnown": 96, "MaybeKnown": 101, "WeaklyKnown": 68, "Unknown": 135}
EASY = {"HighlyKnown": 0, "MaybeKnown": 1, "WeaklyKnown": 2, "Unknown": 3}


def knows(upto, lucky=0.0):
    """Answers right exactly the questions of the first `upto` categories, and `lucky` of the MaybeKnown ones more."""

    def right(table, share, seed):
        place = table["category"].map(EASY).to_numpy()
        draw = np.random.default_rng(seed).random(len(table)) < lucky
        return (place < upto) | ((place == 1) & draw)

    return right


def refuses_unknown(table, share, seed):
    """Answers right what it knows, wrong the WeaklyKnown questions, and refuses the Unknown ones."""
    place = table["category"].map(EASY).to_numpy()
    return place < 2, place < 3


def write(folder, seeds=SEEDS):
    """Every variant: D_MaybeKnown knows two categories, D_HighlyKnown one and some luck, D_Natural three."""
    planted.write_study(folder, epochs=20, seeds=seeds)
    names = json.loads((folder / "mixtures/manifest.json").read_text())["variants"]
    planted.write_manifest(folder, [*names, *SINGLES, "natural", "idk_50"])
    answers = {
        "only_HighlyKnown": knows(1, 0.3), "only_MaybeKnown": knows(2), "only_WeaklyKnown": knows(1),
        "natural": knows(3), "idk_50": refuses_unknown,
    }  # fmt: skip
    mixtures = {**SINGLES, "natural": NATURAL, "idk_50": planted.mixture(400, 50)}
    for seed in seeds:
        for variant, counts in mixtures.items():
            planted.write_run(folder, variant, counts, seed, epochs=20, answers=answers[variant])
        for stop in ("EARLY_STOP", "CONVERGENCE"):
            write_shift(folder, "unknown_50", seed, stop)
    return folder


def write_shift(folder, variant, seed, stop):
    """The tuned model annotated again: a tenth of the MaybeKnown forgotten, a fifth of the Unknown gained."""
    table = planted_answers.measured(planted.questions())
    where = {name: np.flatnonzero(table["category"] == name) for name in ("MaybeKnown", "Unknown")}
    after = table["category"].to_numpy(copy=True)
    after[where["MaybeKnown"][::10]] = "Unknown"
    after[where["Unknown"][::5]] = "WeaklyKnown"
    place = folder / "train" / variant / f"seed-{seed}" / f"shift-{stop}"
    place.mkdir(parents=True)
    table.assign(category=after).to_parquet(place / "annotations.parquet")
