"""How far long work is: one rewritten line on a terminal, a line every tenth in logs, quiet on other processes."""

from __future__ import annotations

import sys
import time

import jax

REWRITE_SECONDS = 0.1  # between two lines on a terminal


class Progress:
    """Reports what is counted, its rate and the time left, to stderr.

    total, done: units of the whole work, and those that an earlier run has finished (they do not count for the rate).
    """

    def __init__(self, name: str, total: int, unit: str, done: int = 0):
        self._name, self._total, self._unit = name, max(total, 1), unit
        self._first, self._began = done, time.perf_counter()
        self._quiet, self._terminal = jax.process_index() > 0, sys.stderr.isatty()
        self._tenth, self._next = done * 10 // self._total, 0.0

    def show(self, done: int, note: str = "") -> None:
        """`done` units are finished by now; `note` is put before the rate."""
        tenth, now = done * 10 // self._total, time.perf_counter()
        due = now >= self._next or done == self._total if self._terminal else tenth > self._tenth
        if self._quiet or not due:
            return
        self._tenth, self._next = tenth, now + REWRITE_SECONDS
        seconds = max(now - self._began, 1e-9)
        rate = (done - self._first) / seconds
        left = _clock((self._total - done) / rate) if rate else "?"
        line = f"{self._name}: {done:,} of {self._total:,} {self._unit}, {note}{_few(rate)} {self._unit}/s, {left} left"
        start, end = ("\r\x1b[K", "\n" if done == self._total else "") if self._terminal else ("", "\n")
        sys.stderr.write(f"{start}{line}{end}")
        sys.stderr.flush()


def _few(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
