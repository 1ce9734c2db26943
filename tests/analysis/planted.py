"""Writes run folders with planted results, in the formats of `slick mix`, `slick train` and `slick annotate`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from slick_jax.knowledge.saturation import saturation
from tests.analysis import planted_answers

CATEGORIES = ("HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown")
TEST_N, OOD_N, DEV_N, TRAIN_N = 400, 200, 100, 80
RELATIONS = ("P17", "P19")
SPEED = {"HighlyKnown": 0.9, "MaybeKnown": 0.7, "WeaklyKnown": 0.5, "Unknown": 0.12}  # share fitted a step of e^-x


def fit_counts(counts, epoch, seed=0):
    """How many of each category are fitted after an epoch: Unknown slowest."""
    shift = 1 + 0.05 * seed
    return {name: int(round(n * (1 - np.exp(-SPEED.get(name, 1.0) * shift * epoch)))) for name, n in counts.items()}


def mixture(size, percent):
    """Counts per category of unknown_<percent>."""
    unknown = round(size * percent / 100)
    known = size - unknown
    counts = {"HighlyKnown": known // 2, "MaybeKnown": known // 4, "WeaklyKnown": known - known // 2 - known // 4}
    return {**counts, "Unknown": unknown}


def write_run(
    folder, variant, counts, seed=0, *, epochs=20, train=None, dev=None, test=None, scores=None, mixture="m",
    answers=planted_answers.by_share, **settings,
):  # fmt: skip
    """One finished run.

    counts: training examples per category. train, dev, test: evaluated epochs (default: all). scores: function of
    (epoch, fitted per category, |D|) -> {split: accuracy as a share}; dev is given one that peaks at epoch 6.
    mixture: stands for its hash. answers: which questions are right, given their table and the share that is to be;
    None writes no answers.parquet. settings: of training, besides the defaults.
    """
    place = Path(folder) / "train" / variant / f"seed-{seed}"
    place.mkdir(parents=True)
    every = list(range(1, epochs + 1))
    train, dev, test = (every if chosen is None else list(chosen) for chosen in (train, dev, test))
    scores = scores or default_scores
    rows, lines, shares = [], [], {}
    for epoch in every:
        fitted = fit_counts(counts, epoch, seed)
        values = scores(epoch, fitted, sum(counts.values()))
        shares[epoch] = {split: values[split] for split in ("test", "ood_test")}
        line = {"epoch": epoch, "loss": 1 / epoch, "lr": 1e-5, "tokens": 100}
        if epoch in train:
            for name, n in counts.items():
                rows += [(f"{name}.{i}", "r0", name, epoch, i < fitted[name]) for i in range(n)]
            line["train"] = score(sum(fitted.values()) / max(sum(counts.values()), 1), sum(counts.values()))
        if epoch in dev:
            line["dev"] = score(values["dev"], DEV_N)
        if epoch in test:
            line["test"] = score(values["test"], TEST_N) | {"by_category": {"Unknown": score(0.01, 50)}}
            line["ood_test"] = score(values["ood_test"], OOD_N)
        lines.append(json.dumps(line))
    (place / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    frame = pd.DataFrame(rows, columns=["id", "relation", "category", "epoch", "fitted"])
    frame.astype({"epoch": "int32", "fitted": bool}).to_parquet(place / "fit.parquet")
    dev_scores = {json.loads(line)["epoch"]: json.loads(line).get("dev", {}).get("em", -1.0) for line in lines}
    best = max(every, key=lambda epoch: (dev_scores[epoch], -epoch))
    if answers:
        asked = {"EARLY_STOP": (best, shares[best]), "CONVERGENCE": (epochs, shares[epochs])}
        planted_answers.write_answers(place, questions(), asked, seed, answers)
    n_unknown = counts.get("Unknown", 0)
    result = {
        "variant": variant, "seed": seed, "n": sum(counts.values()), "n_unknown": n_unknown,
        "n_known": sum(counts.values()) - n_unknown, "early_stop_epoch": best, "convergence_epoch": epochs,
    }  # fmt: skip
    (place / "result.json").write_text(json.dumps(result))
    settings = {"seed": seed, "epochs": epochs, "peak_lr": 1e-5, **settings}
    hashes = {"mixture_sha256": f"{variant} {mixture}", "questions_sha256": "the tests"}
    (place / "train.json").write_text(json.dumps({"train": settings, "match": ["squad", ""], **hashes}))
    return frame


def score(em, n):
    """One accuracy of metrics.jsonl."""
    return {"em": em, "n": n}


def default_scores(epoch, fitted, size):
    """Known examples help, Unknown ones harm; dev peaks at epoch 6."""
    unknown = fitted.get("Unknown", 0) / size
    known = (sum(fitted.values()) / size) - unknown
    return {
        "dev": 0.40 + 0.05 * (1 - abs(epoch - 6) / 30) - 0.01 * unknown,
        "test": 0.38 + 0.05 * (1 - np.exp(-epoch / 3)) + 0.02 * known - 0.2 * unknown,
        "ood_test": 0.36 + 0.03 * (1 - np.exp(-epoch / 3)) + 0.01 * known - 0.08 * unknown,
    }


def write_manifest(folder, variants, size=400):
    """mixtures/manifest.json with the names."""
    place = Path(folder) / "mixtures"
    place.mkdir(parents=True, exist_ok=True)
    listed = {name: {"n": size, "percent_unknown": 0} for name in variants}
    (place / "manifest.json").write_text(json.dumps({"seed": 0, "size": size, "variants": listed}))


def questions(relations=RELATIONS):
    """id, split, relation, question, answers and category of every question: categories in turn."""
    sizes = {"train": TRAIN_N, "test": TEST_N, "ood_test": OOD_N}
    return pd.DataFrame([
        {"id": f"{relation}.{split}.{i}", "split": split, "relation": relation, "question": f"q{i}?",
         "answers": [f"answer {i % 20}"], "category": CATEGORIES[(i + len(relation)) % 4]}
        for split, n in sizes.items() for relation in relations for i in range(n // len(relations))
    ])  # fmt: skip


def write_annotations(folder, relations=RELATIONS):
    """annotations.parquet of `questions`, with the hits that make their categories; the strict ones are all Unknown.

    And a saturation.csv of random hits.
    """
    frame = planted_answers.measured(questions(relations)).assign(strict_category="Unknown")
    frame.to_parquet(Path(folder) / "annotations.parquet")
    rng = np.random.default_rng(0)
    chance = rng.random((50, 1, 1)) ** 2
    shares = saturation(rng.random((50, 5)) < chance[..., 0], rng.random((50, 5, 6)) < chance)
    shares.to_csv(Path(folder) / "saturation.csv", index=False)
    return frame


def write_study(folder, percents=(0, 25, 50, 75, 100), known_only=(25, 50, 75), size=400, seeds=(0,), **options):
    """A whole study with its manifest and annotations."""
    names = [*(f"unknown_{x}" for x in percents), *(f"known_only_{x}" for x in known_only)]
    write_manifest(folder, names, size)
    write_annotations(folder)
    for seed in seeds:
        for percent in percents:
            write_run(folder, f"unknown_{percent}", mixture(size, percent), seed, **options)
        for percent in known_only:
            counts = {name: n for name, n in mixture(size, percent).items() if name != "Unknown"}
            write_run(folder, f"known_only_{percent}", counts, seed, **options)
    return folder
