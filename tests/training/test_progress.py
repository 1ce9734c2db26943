"""The progress line, on a terminal and in a log."""

import io

from slick_jax.training import progress
from slick_jax.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, first=0):
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(progress.sys, "stderr", stream)
    line = Progress("pretrain", 200, 1000, "tokens", first)
    for step in range(first + 5, 201, 5):
        line.show(step, 2.0)
    return stream.getvalue()


def test_a_log_gets_a_line_every_tenth(monkeypatch):
    lines = shown(monkeypatch, io.StringIO()).splitlines()
    assert len(lines) == 10 and "\r" not in "".join(lines)
    # The clock advances a second per report; 20 steps of 1,000 tokens were done by the first.
    assert lines[0] == "pretrain: step 20 of 200, loss 2.000, 20,000 tokens/s, 0:09 left"


def test_a_resumed_run_does_not_count_old_steps_into_its_rate(monkeypatch):
    lines = shown(monkeypatch, io.StringIO(), first=100).splitlines()
    assert len(lines) == 5 and "20,000 tokens/s" in lines[0]


def test_a_terminal_gets_one_rewritten_line(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert text.count("\r") == 40 and text.count("\n") == 1 and text.endswith("0:00 left\n")
