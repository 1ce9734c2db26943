"""What `slick ls` says of each room of a run folder: its state, when it was last written, and its headline numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import pyarrow.compute as pc
from etils import epath

from slick_jax.browsing.folders import last_written, names_in, training_runs
from slick_jax.categories import CATEGORIES
from slick_jax.epochs import KEYS_OF_STOPS
from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.files.claim import seems_held
from slick_jax.training.writers import METRICS, read_lines

FINISHED = "finished"


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the list. when: seconds since 1970, None where it is not known."""

    what: str
    state: str
    when: float | None
    numbers: str = ""


def lines_of(place: epath.Path, names: frozenset[str]) -> Iterator[Line]:
    """The lines of a run folder with these names in it; a damaged file is told in its line."""
    if "pretrain.json" in names:
        yield _told("pretrain", place, ("pretrain.json", "model/config.json"), _pretrain)
    if names & {"annotations", "annotations.parquet"}:
        yield _told("annotate", place, ("summary.json", "annotations.parquet", "annotations/manifest.json"), _annotate)
    if "mixtures" in names:
        yield _told("mix", place, ("mixtures/manifest.json",), _mix)
    if "study" in names and (processes := sum(seems_held(place / "study" / one) for one in names_in(place / "study"))):
        yield Line("study", "running", None, f"{processes} process{'es' * (processes > 1)}")
    if "train" in names:
        runs = training_runs(place)
        yield from (_training(f"train {run.parent.name} {run.name}", run) for run in runs)
    if "train.json" in names:
        yield _training("train", place)
    if "gradual" in names:
        seeds = [place / "gradual" / name for name in sorted(names_in(place / "gradual"))]
        yield from (
            _training(f"gradual {seed.name}", run) for seed in seeds for run in training_runs(seed)
        )
    if "longform" in names:
        yield _told("longform", place / "longform", ("report/index.html", "answers.parquet"), _longform)
    if "doctor" in names:
        yield _told("doctor", place / "doctor", ("index.html",), _doctor)
    if "plan.json" in names:
        yield _told("plan", place, ("plan.json",), lambda _: (FINISHED, ""))
    if "evaluations" in names:
        yield _told("evaluate", place, ("evaluations",), _evaluations)


def _told(
    what: str, place: epath.Path, files: tuple[str, ...], look: Callable[[epath.Path], tuple[str, str]]
) -> Line:
    when = last_written(place, files)
    try:
        state, numbers = look(place)
    except InputError as error:
        return Line(what, "damaged", when, str(error).splitlines()[0])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OSError) as error:
        return Line(what, "damaged", when, f"not what is written there ({type(error).__name__}: {error})")
    return Line(what, state, when, numbers)


def _stopped(place: epath.Path, at: str = "") -> str:
    """The state of what is not finished: running where a process gives signs of life, else stopped; and where."""
    return ("running" if seems_held(place) else "stopped") + f" at {at}" * bool(at)


def _pretrain(place: epath.Path) -> tuple[str, str]:
    settings = run_folder.read_object(place / "pretrain.json") or {}
    shape = settings["shape"]
    numbers = f"{shape['n_layers']} layers of width {shape['d_model']}"
    if (place / "model" / "config.json").exists():
        return FINISHED, numbers
    steps = [int(name) for name in names_in(place / "checkpoints") if name.isdecimal()]
    return _stopped(place, f"step {max(steps):,}" if steps else ""), numbers


def _annotate(place: epath.Path) -> tuple[str, str]:
    if (place / "annotations.parquet").exists():
        return FINISHED, _annotated(place)
    parts = sorted(name for name in names_in(place / "annotations") if name.startswith("part-"))
    total = (run_folder.read_object(place / "config.json") or {}).get("questions")
    done = sum(run_folder.read_columns(place / "annotations" / name, ("id",)).num_rows for name in parts)
    of = f" of {total:,}" if total else ""
    return _stopped(place / "annotations", f"{done:,}{of} questions"), ""


def _annotated(place: epath.Path) -> str:
    """Shares of the categories and means of P_Correct."""
    columns = ("category", "p_correct_greedy", "p_correct_sampled")
    table = run_folder.read_columns(place / "annotations.parquet", columns)
    counts = {one["values"]: one["counts"] for one in pc.value_counts(table["category"]).to_pylist()}
    shares = _shares({name: 100 * counts.get(name, 0) / max(table.num_rows, 1) for name in CATEGORIES})
    means = {name: pc.mean(table[name]).as_py() for name in columns[1:] if name in table.column_names}
    told = ", ".join(f"{name[10:]} {mean:.3f}" for name, mean in means.items() if mean is not None)
    return f"{table.num_rows:,} questions: {shares}; P_Correct {told}"


def _shares(percents: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {percents[name]:.1f} %" for name in CATEGORIES)


def _mix(place: epath.Path) -> tuple[str, str]:
    manifest = run_folder.read_object(place / "mixtures" / "manifest.json")
    if manifest is None:
        return _stopped(place), ""
    sizes = [variant["n"] for variant in manifest["variants"].values()]
    return FINISHED, f"{len(sizes)} mixtures, the largest of {max(sizes, default=0):,} examples"


def _training(what: str, run: epath.Path) -> Line:
    return _told(what, run, ("result.json", METRICS, "train.json"), _trained)


def _trained(run: epath.Path) -> tuple[str, str]:
    result = run_folder.read_object(run / "result.json")
    if result is None:
        lines = read_lines(run / METRICS)
        epochs = ((run_folder.read_object(run / "train.json") or {}).get("train") or {}).get("epochs", "?")
        return _stopped(run, f"epoch {lines[-1]['epoch'] if lines else 0} of {epochs}"), ""
    rates = {name: result.get(stop, {}).get("test", {}).get("em") for name, stop in KEYS_OF_STOPS.items()}
    told = (f"{100 * rate:.1f} % at {name}" for name, rate in rates.items() if rate is not None)
    share = result.get("percent_unknown")
    unknown = "" if share is None else f"{share:.0f} % Unknown; "
    return FINISHED, f"{unknown}test {', '.join(told) or 'never asked'}"


def _longform(room: epath.Path) -> tuple[str, str]:
    if not (room / "report" / "index.html").exists():
        domains = [name for name in names_in(room) if (room / name / "entities.parquet").exists()]
        return _stopped(room, f"{len(domains)} domains begun"), ""
    found = run_folder.read_columns(room / "answers.parquet", ("arm", "precision", "split")).to_pandas()
    means = found[found["split"] == "test"].groupby("arm", sort=False)["precision"].mean().dropna() * 100
    best = means.drop("BASE", errors="ignore")
    told = [f"BASE {means['BASE']:.1f} %"] if "BASE" in means else []
    told += [f"{best.idxmax()} {best.max():.1f} % (best of {len(best)} arms)"] if len(best) else []
    return FINISHED, f"precision {', '.join(told) or 'of no answer'}"


def _doctor(room: epath.Path) -> tuple[str, str]:
    if not (room / "index.html").exists():
        return _stopped(room), ""
    found = run_folder.read_object(room / "summary.json") or {}
    rows, shares = found["rows"], _shares({name: one["percent"] for name, one in found["categories"].items()})
    return FINISHED, f"{rows['asked']:,} rows: {shares}" + f"; {rows['left out']:,} left out" * bool(rows["left out"])


def _evaluations(place: epath.Path) -> tuple[str, str]:
    files = sorted(name for name in names_in(place / "evaluations") if name.endswith(".json"))
    rates = []
    for name in files[-3:]:
        splits = run_folder.read_object(place / "evaluations" / name)["splits"]
        told = ", ".join(f"{split} {100 * found['em']:.1f} %" for split, found in splits.items())
        rates.append(f"{name.rpartition('_')[0]}: {told}")
    return FINISHED, "; ".join(rates + [f"and {len(files) - 3} more"] * (len(files) > 3))
