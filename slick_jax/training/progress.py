"""A line that tells how far a long loop is."""

import sys
import time


class Progress:
    """Writes step, loss, rate and time left to stderr: one line rewritten on a terminal, else a line every tenth."""

    def __init__(self, name: str, n_steps: int, units_per_step: int, unit: str, first_step: int = 0):
        self._name, self._n_steps, self._units, self._unit = name, n_steps, units_per_step, unit
        self._first, self._began = first_step, time.perf_counter()
        self._terminal = sys.stderr.isatty()
        self._shown = first_step * 10 // max(n_steps, 1)

    def show(self, step: int, loss: float) -> None:
        """Reports that `step` steps are done; `loss` is recent."""
        tenth = step * 10 // self._n_steps
        if not self._terminal and tenth == self._shown:
            return
        self._shown = tenth
        seconds = max(time.perf_counter() - self._began, 1e-9)
        done = max(step - self._first, 1)
        rate, left = done * self._units / seconds, seconds / done * (self._n_steps - step)
        line = (
            f"{self._name}: step {step:,} of {self._n_steps:,}, loss {loss:.3f}, {rate:,.0f} {self._unit}/s, "
            f"{_clock(left)} left"
        )
        end = "\n" if not self._terminal or step == self._n_steps else ""
        sys.stderr.write(f"\r\x1b[K{line}{end}" if self._terminal else line + end)
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
