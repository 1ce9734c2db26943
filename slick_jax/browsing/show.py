"""`slick show <example id> [--run_dir=<folder>]`: all that a run folder tells of one example, for reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from etils import epath

from slick_jax.browsing import example
from slick_jax.browsing.example import Row
from slick_jax.browsing.folders import existing, last_written, run_folders
from slick_jax.browsing.ls import RUNS
from slick_jax.categories import CERTAINTY
from slick_jax.data.annotations import NAME
from slick_jax.errors import InputError

USAGE = "give an example id, and --run_dir=<folder> where it is not the newest below runs/"


def run(arguments: Sequence[str]) -> None:
    """Print what is known. Raises InputError for an unknown id or folder; a damaged file is told in its place."""
    ids = [one for one in arguments if not one.startswith("--")]
    flags = [one.removeprefix("--run_dir=") for one in arguments if one.startswith("--run_dir=")]
    if len(ids) != 1 or len(flags) > 1 or len(ids) + len(flags) != len(arguments):
        raise InputError(f"slick show {' '.join(arguments)}: not understood; {USAGE}")
    place = existing(flags[0]) if flags else _newest()
    row = example.annotation(place, ids[0])
    print(f"{row['id']}, in {place}")
    for title, made in (
        ("", _headline(row)),
        ("behind its exemplars (numbers as in exemplars.json)", _guarded(_slots, place, row)),
        ("mixtures that hold it", _guarded(_mixtures, place, row)),
        ("training runs", _guarded(_training, place, row)),
        ("evaluations", _guarded(_evaluations, place, row)),
    ):
        lines = list(made)
        if lines:
            print("\n".join([f"\n{title}"] * bool(title) + [f"  {line}" for line in lines]))


def _newest() -> epath.Path:
    """The run folder below RUNS whose annotations are the newest."""
    found = {
        folder: last_written(folder, (NAME,)) for folder, names in run_folders(existing(RUNS)) if NAME in names
    }
    if not found:
        raise InputError(f"{RUNS}: no annotations in its run folders; {USAGE}")
    return max(found, key=lambda folder: found[folder] or 0.0)


def _guarded(
    tell: Callable[[epath.Path, Row], Iterator[str]], place: epath.Path, row: Row
) -> Iterator[str]:
    """What is told, up to a file that is damaged."""
    try:
        yield from tell(place, row)
    except InputError as error:
        yield f"damaged: {error}"
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        yield f"damaged: not what is written there ({type(error).__name__}: {error})"


def _headline(row: Row) -> Iterator[str]:
    yield f"question    {row['question']}"
    yield f"answers     {' | '.join(row['answers'])}"
    yield f"relation    {row['relation']}" + f", subject {row['subject']}" * bool(row.get("subject"))
    yield f"split       {row['split']}"
    strict = row.get("strict_category")
    yield f"category    {row['category']}" + f" ({strict} by strict match)" * (strict not in (None, row["category"]))
    rates = (f"{name} {row[key]:.3f}" for name in ("greedy", "sampled", "exact")
             if row.get(key := f"p_correct_{name}") is not None)  # fmt: skip
    yield f"P_Correct   {', '.join(rates)}"
    sure = (f"{name} {row[key]:.3f}" for name, key in CERTAINTY.items() if row.get(key) is not None)
    yield f"certainty   {', '.join(sure) or 'not measured'}"
    for name, key, form in (
        ("P(True)", "p_true", ".3f"), ("abstained", "abstained_greedy", ".0%"), ("log p(gold)", "gold_logprob", ".2f"),
    ):  # fmt: skip
        if row.get(key) is not None:
            yield f"{name:<11} {row[key]:{form}}"


def _slots(place: epath.Path, row: Row) -> Iterator[str]:
    """A line per exemplar set: its hits, its answers where they were kept, and its exemplars."""
    sets, kept = example.exemplar_sets(place, row), example.kept_answers(place, row["id"])
    numbers = row.get("exemplar_sets") or row.get("exemplar_rows") or ()
    for slot, number in enumerate(numbers):
        sampled = (row.get("sampled_hits") or {}) and row["sampled_hits"][slot]
        drawn = f", {sum(sampled)} of {len(sampled)} samples right" if sampled else ""
        yield f"set {number}: greedy {'right' if row['greedy_hits'][slot] else 'wrong'}{drawn}"
        if kept is not None:
            yield f"    greedy answer: {kept['greedy'][slot].strip()!r}"
            texts = Counter(text.strip() for text in (kept.get("sampled") or {}) and kept["sampled"][slot] or ())
            if texts:
                yield "    samples: " + ", ".join(f"{n} x {text!r}" for text, n in texts.most_common(8))
        for one in sets[slot] if slot < len(sets) else ():
            yield f"    {one['id']}: {one['question']} {one['answer']}"
    if kept is None:
        yield "its answers were not kept (annotate.answers)"


def _mixtures(place: epath.Path, row: Row) -> Iterator[str]:
    for variant, held in example.mixtures(place, row["id"]):
        taught = f", taught as {held['completion'].strip()!r}" * (held["completion"].strip() != row["answers"][0])
        times = held.get("times") or 1
        yield variant + taught + f", {times} times an epoch" * (times > 1)


def _training(place: epath.Path, row: Row) -> Iterator[str]:
    for name, fit, answers, shifted in example.training(place, row["id"]):
        told = []
        if fit:
            right = [one["epoch"] for one in fit if one["fitted"]]
            lost = [one["epoch"] for one in fit if right and one["epoch"] > right[0] and not one["fitted"]]
            first = f"fitted by epoch {right[0]}" if right else "never fitted"
            told.append(first + f", lost again at {_few(lost)}" * bool(lost))
            told.append(f"{'right' if fit[-1]['fitted'] else 'wrong'} at the end (epoch {fit[-1]['epoch']})")
        told += [
            f"{one['stop']} (epoch {one['epoch']}): {one['answer'].strip()!r}, {'right' if one['hit'] else 'wrong'}"
            for one in answers
        ]
        told += [f"annotated again at {stop}: {category}" for stop, category in shifted.items()]
        yield f"{name}: {'; '.join(told)}"


def _evaluations(place: epath.Path, row: Row) -> Iterator[str]:
    for name, found in example.evaluations(place, row["id"]):
        yield f"{name}: {'right' if found['hit'] else 'wrong'}" + ", abstained" * bool(found.get("abstained"))


def _few(epochs: Sequence[int]) -> str:
    told = ", ".join(map(str, epochs[:5]))
    return told + f" and {len(epochs) - 5} more" * (len(epochs) > 5)
