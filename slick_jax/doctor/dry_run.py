"""`slick doctor --dry-run`: the exact prompts, the work and the time, before anything is written."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from slick_jax.config import Config
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.doctor.intake import Intake, take_in
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
LOAD_AGAIN = 4 << 30  # bytes of weights up to which loading is timed a second time, when all is compiled
FINISH, FINISH_ROW = 6.0, 0.01  # seconds for figures, page and files, and for each row; of one core
SHOWN_LEFT_OUT = 5


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds: first and again, to load the model and its programs; compiled, the first answers; verify and decode, of
    a question; sample: questions that were timed."""

    first: float
    again: float
    compiled: float
    verify: float
    decode: float
    sample: int
    answer_tokens: float

    def of(self, questions: int) -> float:
        """Of a whole run, start and end included."""
        return self.again + (self.verify + self.decode) * questions + FINISH + FINISH_ROW * questions


def show(config: Config) -> None:
    """Print rows, the first prompt with its tokens, the work, and the time it takes here; nothing is written.

    The time is measured: the programs of this very run are compiled (they are kept, and the run finds them), and some
    of its questions are asked. Raises InputError as the run itself would.
    """
    started = time.perf_counter() - time.process_time()  # what the imports took counts
    spec, tokenizer, intake = take_in(config)
    prepared = preparation.prepare(config, intake.asked, tokenizer, spec.max_position_embeddings)
    print("\n".join(_rows(intake, config)))
    print("\n".join(_prompt(intake, prepared, config, tokenizer)), flush=True)
    work = counted(prepared, intake.asked, tokenizer)
    team = make_team(config.mesh)
    before = time.perf_counter() - started
    timing = measure(config, spec, tokenizer, prepared, team)
    print("\n".join(_work(work, timing, spec, config)))
    print("\n".join(_time(timing, before, len(intake.asked.rows), team)))


def measure(config: Config, spec: ModelSpec, tokenizer: Tokenizer, prepared: Prepared, team: Team) -> Timing:
    """Compile what the run needs, ask some of its questions, and time it."""
    network = Network(spec, config.model.dtype, config.model.precision, config.model.scan_layers)
    weights.check_tensors(config.model.path, spec)
    with jax.set_mesh(team.mesh):
        make = lambda: Engine(config, network, team.mesh, tokenizer, prepared)  # noqa: E731
        first, engine = _timed(make)
        again = first
        if sum(leaf.nbytes for leaf in jax.tree.leaves(engine.device.params)) <= LOAD_AGAIN:
            del engine
            again, engine = _timed(make)
        part, size, verify = prepared.parts[0], 0, math.inf
        _timed(lambda: _verify(engine, part[: SAMPLES[0]]))
        for size in SAMPLES:
            sample = part[:size]
            verify, _ = _timed(lambda sample=sample: _verify(engine, sample))
            if verify > ENOUGH / 2 or size >= len(part):
                break
        sampler = answers.sampler(prepared.settings, tokenizer, engine.device)
        compiled, _ = _timed(lambda: answers.decode(sampler, engine, prepared, sample))
        decode, (_, texts) = _timed(lambda: answers.decode(sampler, engine, prepared, sample))
    n = len(sample)
    tokens = [len(draw) for row in texts for slot in row for draw in slot]
    return Timing(first, again, compiled - decode, verify / n, decode / n, n, sum(tokens) / n)


def _verify(engine: Engine, part: list[int]) -> None:
    verification = engine.start(part)
    while verification.advance():
        pass
    verification.result()


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def _rows(intake: Intake, config: Config) -> Iterator[str]:
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
    whole = before + timing.of(questions)
    yield (
        f"time here, measured on {team.mesh.size} {device} with {timing.sample} of the questions: about"
        f" {_clock(whole)}"
    )
    verify, decode = timing.verify * questions, timing.decode * questions
    yield (
        f"  {before:.0f} s to start and read, {timing.again:.0f} s to load, {verify:.0f} s to verify, {decode:.0f} s to"
        f" write the answers, {FINISH + FINISH_ROW * questions:.0f} s for the page and files (assumed)"
    )
    compiled = timing.first - timing.again + timing.compiled
    yield (
        f"  compiling took {max(compiled, 0):.0f} s just now; the programs are kept, and the run finds them. Answers of"
        " other lengths may compile a few more"
    )


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
