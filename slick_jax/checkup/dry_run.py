"""`slick doctor --dry-run`: the exact prompts, the work and the time, before anything is written."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from slick_jax.checkup.intake import Intake, take_in
from slick_jax.config import Config
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import annotate, answers
from slick_jax.knowledge.engine import Engine
from slick_jax.knowledge.preparation import Prepared
from slick_jax.mesh import Team
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
class Left:
    """Numbers of the parts that the run has still to do: those to verify, and those to write the answers of, which are
    these and more where only answers are missing."""

    prepared: Prepared
    verify: Sequence[int]
    answers: Sequence[int]

    def questions(self, parts: Sequence[int]) -> int:
        """Of these parts."""
        return sum(len(self.prepared.parts[number]) for number in parts)

    def share(self, parts: Sequence[int]) -> float:
        """Of all questions."""
        return self.questions(parts) / len(self.prepared.rows)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of what is left of a run: load (weights and programs, once these are compiled), verify, decode; and
    compile, which they took this time. sample: questions that were timed; answer_tokens: of a question's answers."""

    load: float
    verify: float
    decode: float
    compile: float
    sample: int
    answer_tokens: float


def show(config: Config) -> None:
    """Print rows, the first prompt with its tokens, the work, and the time it takes here; nothing is written.

    The time is measured: the programs of this very run are compiled (they are kept, and the run finds them), and some
    of its questions are asked. What the run folder has already is left out of it. Raises InputError as the run itself
    would.
    """
    started = time.perf_counter() - time.process_time()  # what the imports took counts
    intake = take_in(config)[2]
    print("\n".join(told_rows(intake, config)))
    team = annotate.team_of(config)
    network, tokenizer, prepared, protocol = annotate.prepare(config, intake.asked, team)
    left = left_of(config, prepared, protocol, tokenizer)
    print("\n".join([*_done(left, config), *_prompt(intake, prepared, config, tokenizer)]), flush=True)
    before = time.perf_counter() - started
    if not left.answers:
        print(f"\ntime here: about {_clock(before + _finish(prepared))}, to read them and write the page and files")
        return
    work = counted(prepared, intake.asked, tokenizer)
    print("\ncompiling the programs of the run, and timing some questions: a minute or two on a CPU", flush=True)
    timing = measure(config, network, tokenizer, left, team)
    print("\n".join(_work(work, timing, left, network.spec, config)))
    print("\n".join(_time(timing, before, _finish(prepared), team)))


def left_of(config: Config, prepared: Prepared, protocol: dict[str, Any], tokenizer: Tokenizer) -> Left:
    """What is not in the run folder yet; nothing is written. Raises InputError where the folder holds another run."""
    parts, kept = annotate.open_parts(config, prepared, protocol, tokenizer, leads=True, looks=True)
    folders = [parts] if kept is None else [parts, kept.parts]
    numbers, verified = range(len(prepared.parts)), annotate.finished(prepared, [parts])
    written = annotate.finished(prepared, folders)
    return Left(prepared, [n for n in numbers if n not in verified], [n for n in numbers if n not in written])


def measure(config: Config, network: Network, tokenizer: Tokenizer, left: Left, team: Team) -> Timing:
    """Compile what the run needs, ask some of the questions that are left, and time it."""
    prepared = left.prepared
    with jax.set_mesh(team.mesh):
        make = functools.partial(
            Engine, config, network, team.mesh, tokenizer, prepared, verifies=bool(left.verify)
        )
        first, engine = _timed(make)
        load = first
        if sum(leaf.nbytes for leaf in jax.tree.leaves(engine.device.params)) <= LOAD_AGAIN:
            del engine
            load, engine = _timed(make)
        part = prepared.parts[(left.verify or left.answers)[0]]
        verify, sample = _verify_some(engine, part) if left.verify else (0.0, part)
        # Answers are decoded a part at a time in calls of one size, which take as long where they are half empty.
        whole = verify * len(part) < WHOLE_PART
        chosen, times = (part, len(left.answers)) if whole else (sample, left.questions(left.answers) / len(sample))
        rows = prepared.settings.answer_rows if whole else len(sample) * prepared.settings.n_exemplar_sets
        settings = dataclasses.replace(prepared.settings, answer_rows=rows)
        sampler = answers.sampler(settings, tokenizer, engine.device)
        cold, _ = _timed(lambda: answers.decode(sampler, engine, prepared, chosen))
        decode, (_, texts) = _timed(lambda: answers.decode(sampler, engine, prepared, chosen))
    tokens = [len(draw) for row in texts for slot in row for draw in slot]
    return Timing(
        load, verify * left.questions(left.verify), decode * times, max(first - load + cold - decode, 0.0), len(sample),
        sum(tokens) / len(chosen),
    )  # fmt: skip


def _verify_some(engine: Engine, part: list[int]) -> tuple[float, list[int]]:
    """Seconds that it takes to verify a question, and the questions that were timed."""
    _verify(engine, part[: SAMPLES[0]])
    for size in SAMPLES:
        sample = part[:size]
        seconds, _ = _timed(lambda sample=sample: _verify(engine, sample))
        if seconds > ENOUGH / 2 or size >= len(part):
            break
    return seconds / len(sample), sample


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


def _done(left: Left, config: Config) -> Iterator[str]:
    whole, done = len(left.prepared.rows), len(left.prepared.rows) - left.questions(left.verify)
    if done:
        missing = left.questions(left.answers) - left.questions(left.verify)
        yield (
            f"{done:,} of {whole:,} questions are annotated already ({config.run_dir})"
            + f", {missing:,} of them without answers, which are written then" * bool(missing)
            + "; below is what is left" * bool(left.answers)
        )


def _work(work: Questions, timing: Timing, left: Left, spec: ModelSpec, config: Config) -> Iterator[str]:
    verified, read = work.tokens * left.share(left.verify), (work.first + work.prefixes) * left.share(left.answers)
    written = timing.answer_tokens * left.questions(left.answers)
    seen = (read + written) * (work.prefix_length + work.first / (work.count * work.sets))
    flops = sum(forward_flops(spec, read + written, seen, written).values())
    flops += work.flops(spec) * left.share(left.verify)
    yield (
        f"tokens to forward: {verified:,.0f} to verify {config.annotate.draws} draws a question, {read:,.0f} to read"
        f" the prompts for the answers, {written:,.0f} to write them; {flops / 1e12:,.3g} TFLOP in all"
    )


def _time(timing: Timing, before: float, finish: float, team: Team) -> Iterator[str]:
    device = team.mesh.devices.flat[0].device_kind
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


def _finish(prepared: Prepared) -> float:
    return FINISH + FINISH_ROW * len(prepared.rows)


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
