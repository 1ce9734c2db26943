"""How fast a run was, and how near to what its devices can do: the `speed` section of summary.json."""

from __future__ import annotations

import time
from typing import Any

import jax

from slick_jax.models.flops import matmul_rate


class Stopwatch:
    """Seconds of the stages of a run, one after the other."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The time since the last call belongs to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def speed(
    seconds: dict[str, float], waited: float, questions: int, flops: dict[str, float], devices: int, dtype: str,
    precision: str,
) -> dict[str, Any]:  # fmt: skip
    """What this process did, as opposed to what was there when it began.

    Args:
      seconds: by stage, of `Stopwatch`; its 'verify' is the work proper, and `waited` of it the host did nothing but
        wait for the device. 'answers' is left out of the rates: it is work of another kind.
      questions: verified by this process; flops: of a question, by part (`models.flops.forward_flops`).
      devices: that this process (or its team) computes on; dtype, precision: of the model.

    Returns:
      rates and utilisation: useful FLOPs (no padding) over what a large matmul reaches on these devices in this run,
      over the verification alone, and with loading, compiling and merging. Host devices that share a CPU count as one.
    """
    rate = matmul_rate(dtype, precision) * (1 if jax.default_backend() == "cpu" else devices)
    total, verified = sum(seconds.values()) - seconds.get("answers", 0.0), seconds["verify"]
    useful = questions * sum(flops.values())
    return {
        "questions": questions,
        "seconds": {**seconds, "waiting for the device": waited},
        "questions_per_second": questions / verified,
        "questions_per_second_with_start": questions / total,
        "matmul_flops_per_second": rate,
        "model_flop_utilisation": useful / verified / rate,
        "model_flop_utilisation_with_start": useful / total / rate,
    }
