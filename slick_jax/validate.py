"""`slick validate`: what a config would run, shown before anything is paid for, and everything wrong with it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from etils import epath
from jax.sharding import Mesh

from slick_jax.checkup.dry_run import told_rows
from slick_jax.checkup.intake import take_in
from slick_jax.commands import COMMANDS
from slick_jax.config import Config, ModelConfig
from slick_jax.data.prepare import table_text
from slick_jax.data.prompt_styles import few_shot_prompt, prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.knowledge import match, p_true, preparation, store
from slick_jax.knowledge.preparation import AskedRows, Prepared
from slick_jax.mesh import make_mesh
from slick_jax.models import hub, weights
from slick_jax.models.hf_folder import read_config, tensor_names
from slick_jax.models.spec import ModelSpec
from slick_jax.settings.needs import needs
from slick_jax.validate_stages import checks, set_up

T = TypeVar("T")


def run(config: Config, problems: Sequence[str] = ()) -> None:
    """Print what `validate.command` would run, by default what the config is set up for, and what is wrong with it.

    `problems`: of the settings, found before. Nothing is written and no weights are read. Raises one InputError with
    all problems of settings, data, model, devices, run folder and what earlier commands should have left.
    """
    further = set_up(config)
    given = config.data.kind == "world" or bool(config.data.path)
    command = config.validate.command or (further[0] if further and not given else "annotate")
    found = [*problems, *(f"config.{line}" for line in needs(config, config.validate.command or _told(command)))]
    usable = not found
    print("\n".join([f"config, for `slick {command}`", *_settings("", dataclasses.asdict(config))]))
    resolved = _attempt(found, hub.resolve_config, config, command, False)
    config = resolved or config
    if usable:
        for check in checks(config, command):
            _attempt(found, check, config)
    about = COMMANDS.get(command)  # None: of no such command, which is among the problems
    if about and about.annotates:
        _check_annotation(found, config, usable, command, bool(resolved))
    elif about and about.computes:
        mesh = _attempt(found, make_mesh, config.mesh)
        if mesh:
            print(f"\ndevices\n  {mesh.devices.size} {mesh.devices.flat[0].platform}: {_pairs(mesh.shape)}")
        if about.trains and "model.path" in about.needs and config.model.path and resolved:
            _check_model(found, config, None, mesh, command)
    found = list(dict.fromkeys(found))
    if found:
        raise InputError.of(found, f"{len(found)} problem{'s' * (len(found) > 1)}")
    notes = [] if config.validate.command else [f"config.{line}" for line in needs(config, command)]
    for other in [] if config.validate.command else further:
        if other != command:
            _attempt_all(notes, config, other)
    print("\n".join(["\nno problems found", *(f"  but {line}" for line in dict.fromkeys(notes))]))


def _asked(config: Config, command: str) -> AskedRows:
    """The rows as the command takes them; `slick doctor` leaves out what cannot be asked, and says so."""
    if command != "doctor":
        return preparation.ask(config)
    intake = take_in(config)[2]
    print("\n" + "\n".join(told_rows(intake, config)))
    return intake.asked


def _told(command: str) -> str:
    """What the settings must suffice for: rows for `annotate`, whose model and run folder may come later."""
    return "validate" if command == "annotate" else command


def _attempt_all(notes: list[str], config: Config, command: str) -> None:
    """What a further command that the config is set up for would stop at by now, as notes."""
    stops = [f"config.{line}" for line in needs(config, command)]
    for check in () if stops else checks(config, command):
        _attempt(stops, check, config)
    notes += [f"for `slick {command}`: {line}" for line in stops]


def _check_annotation(found: list[str], config: Config, usable: bool, command: str, resolved: bool) -> None:
    """Print rows, exemplar pools, model, devices and amount of work of `slick annotate`; with settings that are not
    `usable`, only model (that is `resolved`) and devices."""
    asked = _attempt(found, _asked, config, command) if usable else None
    if asked:
        print(f"\nrows read\n{table_text(asked.splits)}\n\n{_work(config, asked)}\n\n{_pools(asked)}")
        if config.annotate.prompt_style == "qa":
            _print_prompt(asked, few_shot_prompt)
        if config.annotate.p_true:
            print(f"\nits P(True)\n{p_true.form(asked.rows[0])}")
    rule = _attempt(found, match.matcher, config.annotate.match)
    if rule and not rule.within_squad and rule.viable is None:
        print(f"\nmatch rule {rule.name!r} has no `viable`: right, but every unfinished answer is followed to its end")
    mesh = _attempt(found, make_mesh, config.mesh)
    if mesh:
        print(f"\ndevices\n  {mesh.devices.size} {mesh.devices.flat[0].platform}: {_pairs(mesh.shape)}")
    if config.model.path and resolved:
        _check_model(found, config, asked, mesh, command)
    elif not config.model.path:
        print("\nmodel\n  none: model.path is empty (demo and pretrain make their own)")


def _attempt(found: list[str], check: Callable[..., T], *arguments: Any) -> T | None:
    """The result of `check`; what it complains about goes to `found`."""
    try:
        return check(*arguments)
    except InputError as error:
        found.append(str(error))
        return None


def _check_model(
    found: list[str], config: Config, asked: AskedRows | None, mesh: Mesh | None, command: str
) -> None:
    """Print the checkpoint and its tokenizer; check that prompts and answers fit, and that run_dir is no other's."""
    before = len(found)
    if _attempt(found, read_config, config.model.path) is None:
        return
    spec = _attempt(found, weights.read_spec, config.model.path)
    if spec:
        _attempt(found, _print_model, config.model, spec)
    tokenizer = _attempt(found, Tokenizer.from_folder, config.model.path, spec and spec.vocab_size)
    if tokenizer:
        print(f"  tokenizer {tokenizer.n_ids:,} ids, end of text {', '.join(map(str, tokenizer.eos_ids)) or 'none'}")
    if asked and tokenizer and config.annotate.prompt_style == "chat":
        style = _attempt(found, prompt_style, config.annotate, tokenizer)
        if style:
            _print_prompt(asked, style.few_shot)
    if asked and len(found) == before:
        prepared = _attempt(found, preparation.prepare, config, asked, tokenizer, spec.max_position_embeddings)
        if prepared:
            print(f"  part files: {len(prepared.parts):,}; tokens in shared prefixes: {sum(prepared.prefix_lengths):,}")
        if prepared and mesh and config.run_dir and command in ("annotate", "doctor"):
            _attempt(found, _check_run_dir, config, prepared, tokenizer, mesh)


def _check_run_dir(config: Config, prepared: Prepared, tokenizer: Tokenizer, mesh: Mesh) -> None:
    """Raises InputError where run_dir holds another run. Its model is taken for this one: weights are not read here."""
    folder = epath.Path(config.run_dir) / "annotations"
    there = run_folder.read_object(folder / "manifest.json") or {}
    model = there.get("protocol", {}).get("model", "")
    protocol = preparation.protocol_fields(config, prepared, model, tokenizer.fingerprint(), mesh.shape)
    further = preparation.further_columns(config.annotate)
    store.check(folder, store.manifest_of(protocol, prepared.rows, config.annotate.part_size, further))


def _print_prompt(asked: AskedRows, few_shot: Callable[..., str]) -> None:
    row, chosen = asked.rows[0], asked.assigned[0]
    exemplars = asked.sets[row.relation].get(chosen[0])
    print(f"\nfirst prompt, of {row.id!r}\n{few_shot(exemplars, row.question)}")


def _print_model(model: ModelConfig, spec: ModelSpec) -> None:
    fetched = not model.source or all((Path(model.path) / name).is_file() for name in tensor_names(Path(model.path)))
    if fetched:
        weights.check_tensors(model.path, spec)
    fields = {name: value for name, value in dataclasses.asdict(spec).items() if value is not None}
    print(f"\nmodel\n  {model.source or model.path}\n  {_pairs(fields)}")
    if not fetched:
        print("  tensors: not fetched, their names and shapes are checked by `slick annotate`")


def _work(config: Config, asked: AskedRows) -> str:
    settings = config.annotate
    sampled, draws = settings.drawn_samples, settings.draws
    most = "up to " if settings.mode == "labels" else ""
    names = ", ".join(dict.fromkeys(row.split for row in asked.rows))
    return (
        f"annotate\n  {len(asked.rows):,} questions of {names}: {settings.n_exemplar_sets} exemplar sets x"
        f" (1 greedy + {sampled} sampled) = {most}{draws:,} answers a question,"
        f" {most}{draws * len(asked.rows):,} in all"
    )


def _pools(asked: AskedRows) -> str:
    questions = Counter(row.relation for row in asked.rows)
    lines = (f"  {name}: {questions[name]:,} questions, {len(sets.pool):,} rows" for name, sets in asked.sets.items())
    return "\n".join(["exemplar pools", *lines])


def _settings(prefix: str, tree: dict) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _settings(f"{prefix}{name}.", value)
        else:
            yield f"  {prefix}{name} = {value!r}"


def _pairs(fields: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in fields.items())
