"""`slick plan`: memory, arithmetic, traffic and hours of a config on devices that need not be there."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

import jax
from etils import epath

from slick_jax.config import Config
from slick_jax.files import run_folder
from slick_jax.models import weights
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.fit import advice, fits
from slick_jax.planning.longform import longform_stages
from slick_jax.planning.page import Plan
from slick_jax.planning.questions import Questions, questions_of
from slick_jax.planning.remarks import remarks_on
from slick_jax.planning.rows import training_rows
from slick_jax.planning.stages import Stage, annotate_stage, study_stage, train_stage
from slick_jax.planning.target import Target, host_devices, real_mesh, target_of
from slick_jax.settings.longform import LongformConfig
from slick_jax.settings.plan import STAGES
from slick_jax.training.pretrain import make_network


def run(config: Config) -> Plan:
    """Print the plan of `config`, return it, and write it to <run_dir>/plan.json where a run folder is named.

    Reads config.json of the model, and tokenizer and data where they are there; no weights. Raises InputError for bad
    settings, data or meshes, and for a topology without libtpu.
    """
    plan = make_plan(config)
    print(plan.text())
    if config.run_dir:
        path = run_folder.write_json(epath.Path(config.run_dir) / "plan.json", plan.record())
        print(f"plan: {path}")
    return plan


def make_plan(config: Config) -> Plan:
    """The plan of `config`; raises as `run` does."""
    target = target_of(config)
    if config.plan.compile:
        mesh = real_mesh(target)
    else:
        mesh = "plan.compile is False"
        host_devices(1)  # no accelerator of this host is taken
    folder = config.plan.model or config.model.path
    spec = weights.read_spec(folder) if folder else _fresh(config)
    questions = questions_of(config, folder, spec)
    stages: list[Stage] = []
    remedies: dict[str, str] = {}
    for name in stages_of(config):
        make = functools.partial(_make, name, spec, config, questions)
        if not isinstance(mesh, str):
            where = target.compiled_for(target.team.size if name == "annotate" else target.count)
            print(f"plan: {name}, compiling for {where}", file=sys.stderr, flush=True)
        made = make(target, mesh, stages)
        for number, stage in enumerate(made):
            if not fits(stage, target.usable):
                remedies[stage.name] = advice(stage, target, config, lambda t, n=number, m=make: m(t, None, ())[n])
        stages += made
    count = sum(leaf.size for leaf in jax.tree.leaves(Network(spec).abstract()))
    name = config.model.source or folder or "model.shape"
    remarks = list(remarks_on(config, target, mesh, [stage.name for stage in stages], fresh=not folder))
    return Plan(config, (name, count), target, stages, remarks, remedies)


def stages_of(config: Config) -> tuple[str, ...]:
    """The stages that are planned: `plan.stages`, or those the config is about."""
    if config.plan.stages:
        return tuple(name for name in STAGES if name in config.plan.stages)
    if config.longform != LongformConfig():
        return ("longform",)
    return STAGES[:2] if config.train.variant or config.train.mixture else STAGES[:3]  # as `slick study` takes neither


def _make(
    name: str, spec: ModelSpec, config: Config, questions: Questions, target: Target, mesh: Any, done: Sequence[Stage]
) -> list[Stage]:
    """The stages of a name; `done`: those that were made before."""
    if name == "annotate":
        return [annotate_stage(spec, config, target, questions, mesh)]
    if name == "longform":
        return longform_stages(spec, config, target, mesh)
    rows = training_rows(config, questions)
    train = next((one for one in done if one.name == "train"), None)
    train = train or train_stage(spec, config, target, rows.train, mesh)
    if name == "train":
        return [train]
    study = [study_stage(spec, config, target, rows, train)]
    if config.study.shift:
        tuned = rows.variants if config.study.shift == ("all",) else len(config.study.shift)
        times = tuned * len(config.study.seeds) * len(config.study.shift_stops)
        annotated = next((one for one in done if one.name == "annotate"), None)
        annotated = annotated or annotate_stage(spec, config, target, questions, None)
        shifted = annotated.times("shift", times, f"{times} tuned models annotated again, each as `annotate`")
        study.append(dataclasses.replace(shifted, programs=()))
    return study


def _fresh(config: Config) -> ModelSpec:
    """The model that `slick pretrain` makes."""
    return make_network(config, config.data.corpus.vocab_size).spec
