"""The progress line, on a terminal, in a log and after a resume."""

import io

from slick_jax import progress
from slick_jax.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, done=0, seconds=1.0):
    """What 200 units of work print, reported every 5 units; the clock advances by `seconds` per report."""
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: seconds * next(clock))
    monkeypatch.setattr(progress.sys, "stderr", stream)
    line = Progress("train", 200, "rows", done)
    for now in range(done + 5, 201, 5):
        line.show(now, "loss 2.0, ")
    return stream.getvalue()


def test_a_log_gets_a_line_every_tenth(monkeypatch):
    lines = shown(monkeypatch, io.StringIO()).splitlines()
    assert len(lines) == 10 and "\r" not in "".join(lines)
    assert lines[0] == "train: 20 of 200 rows, loss 2.0, 5 rows/s, 0:36 left"
    assert lines[-1].endswith("0:00 left")


def test_work_done_before_does_not_count_for_the_rate(monkeypatch):
    lines = shown(monkeypatch, io.StringIO(), done=100).splitlines()
    assert len(lines) == 5 and "120 of 200 rows, loss 2.0, 5 rows/s" in lines[0]


def test_a_terminal_gets_one_rewritten_line(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert text.count("\r") == 40 and text.count("\n") == 1 and text.endswith("0:00 left\n")


def test_a_terminal_is_not_rewritten_more_often_than_one_can_read(monkeypatch):
    text = shown(monkeypatch, Terminal(), seconds=0.02)  # 40 reports in 0.8 s
    assert 6 <= text.count("\r") <= 9 and text.endswith("0:00 left\n")
