"""`slick longform`: which long texts to fine-tune on, from entities to the report; and each stage as a command.

A command does what is missing of its stage and of those before it; tables and runs of the same settings are left as
they are, so that all of it may be killed at any moment and goes on from there.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import pandas as pd
from etils import epath

from slick_jax.config import Config
from slick_jax.files.claim import held
from slick_jax.longform import prompts, splits, summary
from slick_jax.longform.arms import BASE
from slick_jax.longform.checkpoint import Checkpoint, open_model, open_second
from slick_jax.longform.domain_corpus import DomainCorpus
from slick_jax.longform.domains import Domain, make_domains
from slick_jax.longform.finetune import Run
from slick_jax.longform.judge import Judge
from slick_jax.longform.records import Text
from slick_jax.longform.rooms import Room
from slick_jax.longform.sources import read_domains
from slick_jax.longform.store import ROOM
from slick_jax.longform.summary import Answered
from slick_jax.mesh import make_mesh
from slick_jax.models.transformer import Params
from slick_jax.progress import Progress
from slick_jax.training import pretrain


class Study:
    """The domains of a config, and the runs that are made of them."""

    def __init__(self, config: Config):
        """Raises InputError for bad files of the user's, and a verifier that cannot be imported."""
        self.config, longform = config, config.longform
        self._domains: dict[str, Domain] = make_domains(longform.domains) if longform.built_in else {}
        if longform.built_in:
            entities = {name: domain.entities for name, domain in self._domains.items()}
        else:
            entities = read_domains(longform.own)
        self.claims_model = self._second("model", longform.claim_method)
        self.verifier_model = self._second("verifier_model", longform.verifier, self.claims_model)
        self.rooms = {name: self._room(name, of) for name, of in entities.items()}
        self._held: tuple[Run, Params] | None = None  # the trained model in memory

    @functools.cached_property
    def mesh(self) -> jax.sharding.Mesh:
        """The devices."""
        return make_mesh(self.config.mesh)

    @functools.cached_property
    def model(self) -> Checkpoint:
        """The model under study; that of the built-in domains is made first."""
        folder: str | Path = self.config.model.path
        if self.config.longform.built_in:
            corpus = DomainCorpus(list(self._domains.values()), self.config.longform.domains.seed)
            folder = pretrain.run(self.config, corpus)
        return open_model(self.config, folder, self.mesh)

    @property
    def sources(self) -> tuple[str, ...]:
        """Of texts; others than the answers."""
        more = ("resampled",) if "consistency" in self.config.longform.scorers else ()
        return ("gold", "generated", *more)

    @functools.cached_property
    def runs(self) -> list[Run]:
        """The fine-tuning runs, those of `more_seeds` last."""
        wanted = self.config.longform.runs(tuple(self.rooms))
        return [Run(arm, name, seed, self.rooms[name].folder) for name, arm, seed in wanted]

    def about(self, run: Run) -> list[Room]:
        """The domains that a run's model writes about: its own, and where transfer is asked for, the others."""
        named = self.config.longform.about((run.domain, run.arm, run.seed), tuple(self.rooms))
        return [self.rooms[name] for name in named]

    def answered(self, room: Room) -> Iterator[Answered]:
        """The answers about a domain, of BASE and of every model that writes about it."""
        yield self.answer(room, None)
        yield from (self.answer(room, run) for run in self.runs if room in self.about(run))

    def answer(self, room: Room, run: Run | None) -> Answered:
        """What a run's model (None: BASE) writes about the test entities of a domain, with claims and labels."""
        texts, protocol = self.written(room, run)
        judged = room.judge(f"answers/{'base' if run is None else run.name}", texts, protocol)
        which = (BASE, "", 0) if run is None else (run.arm, run.domain, run.seed)
        return Answered(*which, texts, judged)

    def written(self, room: Room, run: Run | None) -> tuple[list[Text], str]:
        """The texts of `answer`, and the protocol of their table."""
        write, model = self.config.longform.write, self.model
        sampling = room.sampling(samples=1) if write.answers == "sample" else room.sampling(samples=0, greedy=True)
        if run is None:
            return room.written(
                "answers/base/texts", room.asked(("test",)), sampling, "answer", model.protocol, lambda: model.params,
                label=BASE,
            )  # fmt: skip
        return room.written(
            f"answers/{run.name}/texts", prompts.fine_tuned_prompts(room.of_splits(("test",)), model.style), sampling,
            "answer", run.protocol(self.config, model), functools.partial(self._trained, run),
            network=run.network(self.config, model), label=run.name,
        )  # fmt: skip

    def release(self) -> None:
        """Gives the memory of all weights back; what needs them later reads them again."""
        self._held = None
        for one in (self.__dict__.get("model"), self.claims_model, self.verifier_model):
            if one is not None:
                one.release()

    def _trained(self, run: Run) -> Params:
        """The parameters of a run; all others are given up for them."""
        if self._held is None or self._held[0] != run:
            self.release()
            self._held = run, run.load(run.network(self.config, self.model), self.model)
        return self._held[1]

    def _room(self, name: str, entities: Sequence) -> Room:
        by_id = {entity.id: entity for entity in entities}
        judge = Judge(
            self.config, name, by_id, self._domains.get(name), self.claims_model, self.verifier_model
        )
        return Room(self.config, name, entities, judge, lambda: self.model)

    def _second(self, setting: str, chosen: str, other: Checkpoint | None = None) -> Checkpoint | None:
        """The checkpoint that a setting names; `other` where it is the same one, which is held once."""
        if chosen != "model":
            return None
        found = open_second(
            self.config, getattr(self.config.longform.claims, setting), f"longform.claims.{setting}", self.mesh
        )
        return other if other is not None and other.folder == found.folder else found


def run(config: Config) -> epath.Path:
    """All stages; returns the path of the report's page. Raises InputError for bad input, Busy when another process is
    at the study, Stopped after SIGTERM in fine-tuning."""
    return report(config)


def entities(config: Config) -> None:
    """What is written about: <domain>/entities.parquet."""
    _stages(config, _entities)


def texts(config: Config) -> None:
    """Reference texts and the un-tuned model's own: <domain>/<source>/texts.parquet."""
    _stages(config, _entities, _texts)


def claims(config: Config) -> None:
    """Their claims and labels: <domain>/<source>/{sentences,claims,labels}.parquet."""
    _stages(config, _entities, _texts, _claims)


def beliefs(config: Config) -> None:
    """The probe, and belief in every claim: <domain>/probe/, <domain>/<source>/{raw,beliefs}.parquet."""
    _stages(config, _entities, _texts, _claims, _beliefs)


def arms(config: Config) -> None:
    """Training texts: <domain>/arms/<arm>.jsonl and manifest.json."""
    _stages(config, _entities, _texts, _claims, _beliefs, _arms)


def train(config: Config) -> None:
    """Fine-tuned models: <domain>/train/<arm>/seed-<n>/checkpoints."""
    _stages(config, _entities, _texts, _claims, _beliefs, _arms, _train)


def answers(config: Config) -> None:
    """What they write about test entities: <domain>/answers/<model>/{texts,sentences,claims,labels}.parquet."""
    _stages(config, _entities, _texts, _claims, _beliefs, _arms, _train, _answers)


def report(config: Config) -> epath.Path:
    """Scores of every answer, tables, figures and the page: answers.parquet, tables/, figures/, report/index.html."""
    return _stages(config, _entities, _texts, _claims, _beliefs, _arms, _train, _answers, _report)


def _stages(config: Config, *stages: Callable[[Study], epath.Path | None]) -> epath.Path | None:
    folder = epath.Path(config.run_dir) / ROOM
    with held(folder):
        study, made = Study(config), None
        for stage in stages:
            made = stage(study)
            study.release()
    if made is None:
        print(f"longform: {stages[-1].__name__.lstrip('_')}: all of it is in {folder}/<domain>")
    return made


def _entities(study: Study) -> None:
    tables = [room.table.drop(columns="exposure") for room in study.rooms.values()]
    if study.config.longform.transfer:
        splits.check_disjoint(pd.concat(tables, ignore_index=True), across=True)


def _texts(study: Study) -> None:
    for source, room in itertools.product(study.sources, study.rooms.values()):  # references first: they are checked
        room.texts(source)


def _claims(study: Study) -> None:
    for room, source in itertools.product(study.rooms.values(), study.sources):
        room.judged(source)


def _beliefs(study: Study) -> None:
    for room, source in itertools.product(study.rooms.values(), ("gold", "generated")):
        room.believed(source)


def _arms(study: Study) -> None:
    for room in study.rooms.values():
        room.arms()


def _train(study: Study) -> None:
    config, model = study.config, study.model
    steps = {run: run.steps(config) for run in study.runs}
    left = [run for run in study.runs if not run.finished(config, model)]
    if not left:
        return
    done = sum(steps.values()) - sum(steps[run] for run in left)
    line = Progress("fine-tuning", sum(steps.values()), "steps", done)
    for run in left:
        places = itertools.count(done + 1)
        run.train(config, model, functools.partial(_show, line, places, run.name))
        done += steps[run]
        jax.clear_caches()  # programs of other arms are of other lengths, and those of many add up


def _show(line: Progress, places: Iterator[int], name: str) -> None:
    line.show(next(places), f"{name}, ")


def _answers(study: Study) -> None:
    asked = [(room, None) for room in study.rooms.values()]
    asked += [(room, one) for one in study.runs for room in study.about(one)]
    for step in (study.written, study.answer):  # all are written before the first is judged: by other weights
        for room, one in asked:
            step(room, one)
        study.release()


def _report(study: Study) -> epath.Path:
    rooms = {room: list(study.answered(room)) for room in study.rooms.values()}
    config = dataclasses.asdict(study.config.longform) | {"train": dataclasses.asdict(study.config.train)}
    return summary.write(study.config, rooms, study.model, study.claims_model, study.verifier_model, config)
