"""A run folder with everything that `slick ls` and `slick show` read: planted by hand, in the program's own schemas."""

import json

import pyarrow as pa

from slick_jax.data import mix
from slick_jax.data.mixtures import Annotated
from slick_jax.files import run_folder
from slick_jax.knowledge import answers, store
from slick_jax.training.fit import FIT_SCHEMA
from slick_jax.training.stops import ANSWERS_SCHEMA

QUESTIONS = {"author.1": "HighlyKnown", "author.2": "MaybeKnown", "author.3": "Unknown", "capital.1": "WeaklyKnown"}
GREEDY = {"HighlyKnown": [True, True], "MaybeKnown": [True, False], "WeaklyKnown": [False, False]}


def annotated(name, category):
    """A row of annotations.parquet: two exemplar sets, three samples each."""
    hits = GREEDY.get(category, [False, False])
    sampled = [[category != "Unknown", False, False], [False, False, False]]
    rule = {
        "greedy_hits": hits, "sampled_hits": sampled, "p_correct_greedy": sum(hits) / 2,
        "p_correct_sampled": 0.0 if category == "Unknown" else 1 / 6, "p_correct_exact": 0.2, "category": category,
    }  # fmt: skip
    return {
        "id": name, "split": "train", "relation": name.partition(".")[0], "question": f"Who is {name}?",
        "answers": [f"Mr {name}", "X"], "exemplar_sets": [4, 7], **rule,
        **{f"strict_{key}": value for key, value in rule.items()}, "p_true": 0.75, "gold_logprob": -1.5,
        "p_highly": 0.1, "p_maybe": 0.2, "p_weakly": 0.3, "p_unknown": 0.4, "abstained_greedy": 0.5, "protocol": "p",
    }  # fmt: skip


def write(folder):
    """The folder with annotations, answers, one mixture, a finished run of it and a stopped one."""
    rows = [annotated(*pair) for pair in QUESTIONS.items()]
    run_folder.write_parquet(folder / "annotations.parquet", pa.Table.from_pylist(rows, store.OUTPUT_SCHEMA))
    shots = [{"id": "author.9", "question": "Who wrote nine?", "answer": "Ms Nine"}]
    run_folder.write_json(folder / "exemplars.json", {"author": {"4": shots, "7": []}})
    kept = {
        "id": "author.2", "exemplar_sets": [4, 7], "greedy": [" Mr author.2", " nobody"],
        "sampled": [[" a", " a", " b"], [" c", " c", " c"]], "protocol": "p",
    }  # fmt: skip
    run_folder.write_parquet(folder / "samples/part-00000.parquet", pa.Table.from_pylist([kept], answers.SCHEMA))
    examples = [Annotated(row["id"], row["relation"], row["category"], row["question"], "Mr") for row in rows[1:3]]
    manifest = {"n": 2, "variants": {"unknown_50": mix.record(examples)}}
    mix.write(folder / "mixtures", manifest, {"unknown_50": examples})
    write_run(folder / "train/unknown_50/seed-0", {"author.2": [False, True, True], "author.3": [False, False, True]})
    stopped = folder / "train/unknown_50/seed-1"
    run_folder.write_json(stopped / "train.json", {"train": {"epochs": 5}})
    run_folder.write_text(stopped / "metrics.jsonl", '{"epoch": 1}\n{"epoch": 2}\n')
    return folder


def write_run(run, fitted):
    """A finished run: whether each example is fitted after each epoch; author.1 is asked as a test question."""
    rows = [
        {"id": name, "relation": "author", "category": QUESTIONS[name], "epoch": epoch, "fitted": right}
        for name, found in fitted.items()
        for epoch, right in enumerate(found, start=1)
    ]
    run_folder.write_parquet(run / "fit.parquet", pa.Table.from_pylist(rows, FIT_SCHEMA))
    asked = [
        {"stop": stop, "epoch": epoch, "split": "test", "id": "author.1", "hit": hit, "answer": text}
        for stop, epoch, hit, text in (("EARLY_STOP", 2, True, "Mr author.1"), ("CONVERGENCE", 3, False, "Mr Wrong"))
    ]
    run_folder.write_parquet(run / "answers.parquet", pa.Table.from_pylist(asked, ANSWERS_SCHEMA))
    rates = {"early_stop": {"test": {"em": 0.342}}, "convergence": {"test": {"em": 0.304}}}
    run_folder.write_text(run / "result.json", json.dumps({"variant": "unknown_50", "percent_unknown": 50.0, **rates}))
