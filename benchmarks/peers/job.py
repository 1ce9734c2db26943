"""What every peer is asked, and how it is timed.

A peer is a script, `python benchmarks/peers/<peer>.py job.json out.json`. Only the standard library is
used here, so that a peer needs its engine's packages alone.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

Question = list[tuple[int, list[int]]]  # per exemplar set: number of its prefix in the job, the question's own tokens
Answers = list[list[list[list[int]]]]  # question, exemplar set, draw (the greedy one first), tokens
Engine = Callable[[list[Question]], Answers]


@dataclasses.dataclass(frozen=True)
class Job:
    """Questions in token ids. `passes` hold different questions behind the same exemplar prefixes: what a cache keeps
    of one pass helps the next one with the prefixes alone, as in a long run."""

    model: str  # Hugging Face folder
    prefixes: list[list[int]]
    warm: list[Question]
    passes: list[list[Question]]
    stops: list[int]  # ids that end an answer: a newline in their text, or end-of-text
    limit: int  # most new tokens
    samples: int  # besides the greedy draw
    temperature: float
    top_k: int
    threads: int
    dtype: str = "float32"
    device: str = "cpu"
    together: int = 1  # questions that the expert decodes in one batch

    def prompt(self, question: Question, place: int) -> list[int]:
        """The whole prompt of one exemplar set."""
        number, own = question[place]
        return [*self.prefixes[number], *own]

    def cut(self, tokens: list[int]) -> list[int]:
        """An answer up to its first stop, which is left out."""
        ends = set(self.stops)
        return tokens[: next((i for i, token in enumerate(tokens) if token in ends), len(tokens))]


def run(prepare: Callable[[Job], Engine], packages: tuple[str, ...], note: str = "") -> None:
    """Prepares the engine (not timed), warms it up and times every pass; writes the result file."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    started = time.perf_counter()
    answer = prepare(job)
    answer(job.warm)
    ready, seconds, written, greedy = time.perf_counter() - started, [], [], []
    for questions in job.passes:
        started = time.perf_counter()
        answers = answer(questions)
        seconds.append((time.perf_counter() - started) / len(questions))
        drawn = [[[job.cut(draw) for draw in place] for place in question] for question in answers]
        assert all(len(place) == 1 + job.samples for question in drawn for place in question), "draws are missing"
        written.append(sum(len(draw) for q in drawn for place in q for draw in place) / len(questions))
        greedy.append([[place[0] for place in question] for question in drawn])
    found = {
        "seconds_per_question": seconds,
        "questions_per_second": 1 / statistics.median(seconds),
        "questions_a_pass": [len(questions) for questions in job.passes],
        "most_new_tokens": job.limit,
        "tokens_written_per_question": statistics.mean(written),
        "preparation_seconds": ready,
        "greedy": greedy,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "note": note,
    }
    Path(sys.argv[2]).write_text(json.dumps(found))
