"""`slick study`: fine-tune on every mixture with every seed, on as many processes as there are, then report."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from etils import epath

from slick_jax.analysis import report, runs
from slick_jax.config import Config, StudyConfig
from slick_jax.errors import InputError, Stopped
from slick_jax.files import run_folder, stores
from slick_jax.files.claim import Busy, is_held
from slick_jax.files.hashing import digest
from slick_jax.knowledge.questions import Questions, questions
from slick_jax.processes import presence, shards, workers
from slick_jax.progress import Progress
from slick_jax.training import loop, shift, train
from slick_jax.training.writers import read_lines

POLL = 2.0  # seconds between two looks at runs that others are at work on
LOOK = 1.0  # seconds between two looks at how far all of them are
STORE = 20  # times as long on an object store, where a look at a file takes a while
SHIFT_SHARE = 4  # a model that is annotated again counts as a run's epochs divided by this, in the progress


@dataclass(frozen=True)
class Unit:
    """One run of the study, and the stopping points at which its model is annotated again."""

    variant: str
    seed: int
    folder: epath.Path
    stops: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether all files are there, whoever wrote them, and only the checkpoints that stay."""
        trained = (self.folder / "result.json").exists() and not (self.folder / loop.WANTED).exists()
        return trained and all(shift.finished(self.folder, one) for one in self.stops)


def run(config: Config) -> epath.Path | None:
    """Train what is left of `config.study` and report; returns the report's path, None where another process writes it.

    Any number of `slick study` processes, on machines that share the run folder, may work on one study: each run is
    held by one of them, what a dead one left is taken over, and the last to end reports. `study.processes` starts
    several of them here. A finished run of the same settings is left as it is, an unfinished one goes on from its last
    checkpoint. A run that fails does not keep the others from running: all failures come together in one InputError,
    after the report on what did finish. Raises Stopped when a signal asks for it.

    With `study.shard` only a share of the runs is done here, whatever becomes of the others: the report says what is
    missing then.
    """
    work = units(config)
    if config.study.shard:
        names = ", ".join(unit.name for unit in work)
        print(f"study: shard {config.study.shard}: {names or 'no runs, as they are few'}")
    with presence.told(config.run_dir) as alone:
        watch, broken = Watch(config, work), 0
        if config.study.processes > 1:
            failed, broken = workers.share(config, work_on, watch.show)
            if not failed and not all(unit.finished for unit in work):
                if broken:
                    raise RuntimeError(f"{broken} processes of the study failed, see the tracebacks above")
                raise Stopped("the processes of the study ended before all runs were finished; run it again")
        else:
            failed = work_on(config, watch.show)
        watch.show(now=True)
    if not alone():
        print("study: nothing is left to do here; another process is at work and will write the report")
        page = None
    else:
        page = report.run(config)
    if failed:
        problems = [f"{'; '.join(names)}: {problem}" for problem, names in failed.items()]
        if broken:
            problems.append(f"{broken} processes of the study failed as well, see the tracebacks above")
        raise InputError.of(problems, f"{sum(map(len, failed.values()))} of {len(work)} runs failed")
    return page


def work_on(config: Config, watch: Callable[[], None] = lambda: None) -> dict[str, list[str]]:
    """Do what no other process does, until every run is finished or has failed here: problem -> names of runs.

    watch: called all the time; nothing where the progress is shown elsewhere.
    """
    left, failed = units(config), {}
    asked = functools.cache(lambda: questions(config))  # the same in every run; asked for anew where it failed

    def ask(_: Config) -> Questions:
        return asked()

    seen: set[Unit] = set()  # those that another process was at work on when this one came by
    while left:
        for unit in [*left]:
            try:
                if unit in seen and unit.finished:  # by another process, which has checked its settings
                    left.remove(unit)
                elif is_held(unit.folder) or any(is_held(shift.folder_of(unit.folder, stop)) for stop in unit.stops):
                    seen.add(unit)
                elif (told := run_folder.read_json(_failure(config, unit))) is not None:
                    failed.setdefault(told["problem"], []).append(unit.name)
                    left.remove(unit)
                else:
                    _do(config, unit, watch, ask)
                    left.remove(unit)
            except Busy:
                seen.add(unit)
                continue
            except InputError as error:
                failed.setdefault(str(error), []).append(unit.name)
                print(f"study: {unit.name} failed, going on with the others: {error}", flush=True)
                with contextlib.suppress(InputError):  # the disk may be what failed: others then find it out as well
                    run_folder.write_json(_failure(config, unit), {"run": unit.name, "problem": str(error)})
                left.remove(unit)
            watch()
        if left:
            time.sleep(POLL * (STORE if stores.is_store(config.run_dir) else 1))
    return failed


def _failure(config: Config, unit: Unit) -> epath.Path:
    """Where the failure of a run is told to the other processes that work on this study with the same settings, which
    then leave it; gone with the last of them, so that a study that is started again tries again."""
    settings = dataclasses.asdict(dataclasses.replace(config, study=StudyConfig()))
    name = digest({"settings": settings, "run": unit.name})
    return epath.Path(config.run_dir) / presence.FOLDER / presence.FAILURES / f"{name}.json"


def _do(config: Config, unit: Unit, watch: Callable[[], None], ask: Callable[[Config], Questions]) -> None:
    """One run, and what is measured on its models."""
    there, started = unit.finished, time.perf_counter()
    own = for_run(config, unit.variant, unit.seed)
    train.run(own, watch, ask)
    for stop in unit.stops:
        shift.measure(own, unit.folder, stop)
        watch()
    if not there:
        print(f"study: {unit.name} is finished, {time.perf_counter() - started:.0f} s", flush=True)


class Watch:
    """The progress of the whole study, whichever processes work on it: read off the run folder."""

    def __init__(self, config: Config, work: list[Unit]):
        self._work, self._epochs = work, config.train.epochs
        self._shift = -(-self._epochs // SHIFT_SHARE)
        total = sum(self._epochs + self._shift * len(unit.stops) for unit in work)
        self._finished: set[Unit] = set()
        self._next, self._pause = 0.0, LOOK * (STORE if stores.is_store(config.run_dir) else 1)
        name = f"study {config.study.shard}" if config.study.shard else "study"
        self._line = Progress(name, total, "epochs", self._done())

    def show(self, *, now: bool = False) -> None:
        """Look, every `LOOK` seconds at most, or `now`."""
        if now or time.monotonic() >= self._next:
            done = self._done()
            self._next = time.monotonic() + self._pause
            self._line.show(done, f"{len(self._finished)} of {len(self._work)} runs, ")

    def _done(self) -> int:
        done = 0
        for unit in self._work:
            with contextlib.suppress(InputError):  # a damaged file, which the run itself tells when it comes to it
                done += self._done_of(unit)
        return done

    def _done_of(self, unit: Unit) -> int:
        if unit not in self._finished and unit.finished:
            self._finished.add(unit)
        if unit in self._finished:
            return self._epochs + self._shift * len(unit.stops)
        lines = read_lines(unit.folder / "metrics.jsonl")
        done = min(lines[-1]["epoch"], self._epochs) if lines else 0
        if (unit.folder / "result.json").exists():
            done += self._shift * sum(shift.finished(unit.folder, stop) for stop in unit.stops)
        return done


def units(config: Config) -> list[Unit]:
    """The runs of the study, or of its shard, in the order in which they are begun: first seeds come first."""
    manifest = _manifest(config)
    variants, study = chosen(config, manifest), config.study
    shifted = variants if study.shift == ("all",) else study.shift
    unknown = [name for name in shifted if name not in variants]
    if unknown:
        raise InputError(
            f"config.study.shift: {', '.join(unknown)} is not among the variants of the study; there are"
            f" {', '.join(variants)}, or 'all'"
        )
    made = [
        Unit(name, seed, train.folder_of(config.run_dir, name, seed), study.shift_stops if name in shifted else ())
        for seed in study.seeds
        for name in variants
    ]
    if not study.shard:
        return made
    rows = {name: manifest["variants"][name]["n"] + manifest["variants"][name].get("n_replay", 0) for name in variants}
    shift_cost = sum(rows.values()) / len(rows) / SHIFT_SHARE  # the questions are the same for every variant
    costs = [rows[unit.variant] + shift_cost * len(unit.stops) for unit in made]
    return [made[place] for place in shards.share(costs, *shards.parse(study.shard))]


def _manifest(config: Config) -> dict[str, Any]:
    """What `slick mix` wrote. Raises InputError where there are no mixtures."""
    path = epath.Path(config.run_dir) / "mixtures" / "manifest.json"
    manifest: dict[str, Any] | None = run_folder.read_object(path)
    if not manifest or not runs.variant_names(manifest):
        raise InputError(f"{path}: no mixtures there; run `slick mix` with the same config first")
    return manifest


def chosen(config: Config, manifest: dict[str, Any]) -> list[str]:
    """The variants to train on. Raises InputError where there is no mixture of a name that is asked for."""
    mixed = runs.variant_names(manifest)
    problems = []
    for name in config.study.variants:
        if name not in mixed:
            close = difflib.get_close_matches(name, mixed, 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            problems.append(f"config.study.variants: no mixture {name!r}; {hint}mixed are {', '.join(mixed)}")
    if problems:
        raise InputError.of(problems)
    return list(config.study.variants) or mixed


def for_run(config: Config, variant: str, seed: int) -> Config:
    """The config of one run of the study."""
    return dataclasses.replace(
        config, train=dataclasses.replace(config.train, variant=variant, seed=seed, mixture="")
    )
