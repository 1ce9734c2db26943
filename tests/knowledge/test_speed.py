"""Rates of a run by hand, and which stages they are of."""

import time

import pytest

from slick_jax.knowledge import speed as measured
from slick_jax.knowledge.speed import Stopwatch, speed

SECONDS = {"prepare": 2.0, "load": 3.0, "verify": 10.0, "answers": 40.0, "merge": 5.0}


def test_rates_are_of_verification_and_leave_the_answers_out(monkeypatch):
    monkeypatch.setattr(measured, "matmul_rate", lambda dtype, precision: {"bfloat16": 200.0}[dtype])
    found = speed(SECONDS, 4.0, 50, {"linear": 30.0, "head": 10.0}, 8, "bfloat16", "default")
    assert found == {
        "questions": 50,
        "seconds": SECONDS | {"waiting for the device": 4.0},
        "questions_per_second": 5.0,
        "questions_per_second_with_start": 2.5,
        "matmul_flops_per_second": 200.0,  # host devices share a CPU
        "model_flop_utilisation": 1.0,
        "model_flop_utilisation_with_start": 0.5,
    }


def test_devices_of_their_own_add_up(monkeypatch):
    monkeypatch.setattr(measured, "matmul_rate", lambda dtype, precision: 200.0)
    monkeypatch.setattr(measured.jax, "default_backend", lambda: "gpu")
    found = speed({"verify": 10.0}, 0.0, 50, {"linear": 40.0}, 8, "bfloat16", "default")
    assert found["matmul_flops_per_second"] == 1600.0 and found["model_flop_utilisation"] == 0.125


def test_laps_add_up_by_stage():
    watch = Stopwatch()
    for stage in ("verify", "answers", "verify"):
        time.sleep(0.02)
        watch.lap(stage)
    assert watch.seconds["verify"] == pytest.approx(2 * watch.seconds["answers"], rel=0.5)
    assert watch.seconds["verify"] >= 0.04
