"""`slick doctor --dry-run`: the exact prompts, the work and the time, before anything is written."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from slick_jax.checkup.intake import Intake, take_in
from slick_jax.config import Config
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import answers, preparation
from slick_jax.knowledge.engine import Engine
from slick_jax.knowledge.preparation import Prepared
from slick_jax.mesh import Team, make_team
from slick_jax.models import weights
from slick_jax.models.flops import forward_flops
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.planning.questions import Questions, counted

SAMPLES = (8, 32, 128, 512)  # questions of the measurement: more, as long as it is over in ENOUGH
ENOUGH = 3.0  # seconds
WHOLE_PART = 20.0  # seconds to verify a part, up to which the answers of all of it are timed
LOAD_AGAIN = 4 << 30  # bytes of weights up to which loading is timed a second time, when all is compiled
FINISH, FINISH_ROW = 6.0, 0.01  # seconds for figures, page and files, and for each row; of one core
SHOWN_LEFT_OUT = 5


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of a run: load (weights and programs, once these are compiled), verify, decode; and compile, which they
    took this time. sample: questions that were timed; answer_tokens: of a question's answers."""

    load: float
    verify: float
    decode: float
    compile: float
    sample: int
    answer_tokens: float


def show(config: Config) -> None:
    """Print rows, the first prompt with its tokens, the work, and the time it takes here; nothing is written.

    The time is measured: the programs of this very run are compiled (they are kept, and the run finds them), and some
    of its questions are asked. Raises InputError as the run itself would.
    """
    started = time.perf_counter() - time.process_time()  # what the imports took counts
    spec, tokenizer, intake = take_in(config)
    prepared = preparation.prepare(config, intake.asked, tokenizer, spec.max_position_embeddings)
    print("\n".join(told_rows(intake, config)))
    print("\n".join(_prompt(intake, prepared, config, tokenizer)), flush=True)
    work = counted(prepared, intake.asked, tokenizer)
    team = make_team(config.mesh)
    before = time.perf_counter() - started
    print("\ncompiling the programs of the run, and timing some questions: a minute or two on a CPU", flush=True)
    timing = measure(config, spec, tokenizer, prepared, team)
    print("\n".join(_work(work, timing, spec, config)))
    print("\n".join(_time(timing, before, len(intake.asked.rows), team)))


def measure(config: Config, spec: ModelSpec, tokenizer: Tokenizer, prepared: Prepared, team: Team) -> Timing:
    """Compile what the run needs, ask some of its questions, and time it."""
    network = Network(spec, config.model.dtype, config.model.precision, config.model.scan_layers)
    weights.check_tensors(config.model.path, spec)
    with jax.set_mesh(team.mesh):
        make = functools.partial(Engine, config, network, team.mesh, tokenizer, prepared)
        first, engine = _timed(make)
        load = first
        if sum(leaf.nbytes for leaf in jax.tree.leaves(engine.device.params)) <= LOAD_AGAIN:
            del engine
            load, engine = _timed(make)
        part, questions = prepared.parts[0], len(prepared.rows)
        sample = part[: SAMPLES[0]]
        _verify(engine, sample)
        for size in SAMPLES:
            sample = part[:size]
            verify, _ = _timed(lambda sample=sample: _verify(engine, sample))
            if verify > ENOUGH / 2 or size >= len(part):
                break
        verify *= questions / len(sample)
        # Answers are decoded a part at a time in calls of one size, which take as long where they are half empty.
        whole = verify * len(part) / questions < WHOLE_PART
        chosen, times = (part, len(prepared.parts)) if whole else (sample, questions / len(sample))
        rows = prepared.settings.answer_rows if whole else len(sample) * prepared.settings.n_exemplar_sets
        settings = dataclasses.replace(prepared.settings, answer_rows=rows)
        sampler = answers.sampler(settings, tokenizer, engine.device)
        cold, _ = _timed(lambda: answers.decode(sampler, engine, prepared, chosen))
        decode, (_, texts) = _timed(lambda: answers.decode(sampler, engine, prepared, chosen))
    tokens = [len(draw) for row in texts for slot in row for draw in slot]
    return Timing(
        load, verify, decode * times, max(first - load + cold - decode, 0.0), len(sample), sum(tokens) / len(chosen)
    )


def _verify(engine: Engine, part: list[int]) -> None:
    verification = engine.start(part)
    while verification.advance():
        pass
    verification.result()


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def told_rows(intake: Intake, config: Config) -> Iterator[str]:
    """What becomes of the rows of the file, in a few lines."""
    left = intake.left_out
    yield f"{config.data.path}: {intake.lines:,} rows, {len(intake.asked.rows):,} to ask, {len(left):,} left out"
    yield from (f"  left out: {one.place}: {one.why}" for one in left[:SHOWN_LEFT_OUT])
    if len(left) > SHOWN_LEFT_OUT:
        yield f"  and {len(left) - SHOWN_LEFT_OUT:,} more"
    if intake.pooled:
        yield f"  asked as one, because they are small: relations {', '.join(intake.pooled[:10])}"


def _prompt(intake: Intake, prepared: Prepared, config: Config, tokenizer: Tokenizer) -> Iterator[str]:
    style, row = prompt_style(config.annotate, tokenizer), intake.asked.rows[0]
    exemplars = intake.asked.sets[row.relation].get(intake.asked.assigned[0][0])
    text = style.few_shot(exemplars, row.question)
    prompts = prepared.prompts
    sizes = [len(prompts.prefix(one.key)) + len(prompts.rest(one)) for of in prepared.rests for one in of]
    yield f"\nfirst prompt, of {row.id!r} ({len(style.encode([text])[0])} tokens)\n{text}"
    yield (
        f"\n{len(sizes):,} prompts, {len(prepared.rests[0])} a question, of {min(sizes)} to {max(sizes)} tokens,"
        f" {sum(sizes):,} in all if each were read whole"
    )


def _work(work: Questions, timing: Timing, spec: ModelSpec, config: Config) -> Iterator[str]:
    read = work.first + work.prefixes
    written = timing.answer_tokens * work.count
    seen = (read + written) * (work.prefix_length + work.first / (work.count * work.sets))
    flops = work.flops(spec) + sum(forward_flops(spec, read + written, seen, written).values())
    yield (
        f"tokens to forward: {work.tokens:,.0f} to verify {config.annotate.draws} draws a question, {read:,.0f} to read"
        f" the prompts for the answers, {written:,.0f} to write them; {flops / 1e12:,.3g} TFLOP in all"
    )


def _time(timing: Timing, before: float, questions: int, team: Team) -> Iterator[str]:
    device = team.mesh.devices.flat[0].device_kind
    finish = FINISH + FINISH_ROW * questions
    whole = before + timing.load + timing.verify + timing.decode + finish
    yield (
        f"time here, measured on {team.mesh.size} {device} device{'s' * (team.mesh.size > 1)} with {timing.sample} of"
        f" the questions: about {_clock(whole)}"
    )
    yield (
        f"  {before:.0f} s to start and read, {timing.load:.0f} s to load, {timing.verify:.0f} s to verify,"
        f" {timing.decode:.0f} s to write the answers, {finish:.0f} s for the page and files (assumed)"
    )
    yield (
        f"  compiling took {timing.compile:.0f} s just now; the programs are kept, and the run finds them. Answers of"
        " other lengths may compile a few more"
    )


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
