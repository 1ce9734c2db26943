"""The compiled programs of a fine-tuning run, which further runs of the process find again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from slick_jax.config import TrainConfig
from slick_jax.mesh import place, replicated
from slick_jax.models.transformer import Network, Params
from slick_jax.training.optimizer import make_optimizer, make_schedule
from slick_jax.training.step import TrainState, state_shardings, train_step
from slick_jax.training.together import Votes

KEPT = 8  # sets of programs that a process keeps
UNCOMPILED = {"variant": "", "mixture": "", "seed": 0}  # settings that programs do not depend on


@dataclasses.dataclass(frozen=True)
class Programs:
    """start: parameters -> TrainState at step 0, the optimizer's state created where it will live; step: (state, rows,
    words of `Votes`, rng, frozen) -> (state, Measured, votes), one program per row length; the state is donated and
    stays where it lies; rate: step -> learning rate."""

    optimizer: optax.GradientTransformation
    start: Callable[[Params], TrainState]
    step: Callable[..., tuple]
    rate: optax.Schedule


def programs_of(settings: TrainConfig, network: Network, mesh: Mesh, n_steps: int) -> Programs:
    """The programs of a run of `n_steps`; those of runs that differ in variant, mixture and seed are the same ones, and
    with a constant learning rate those of runs of any length."""
    counted = 0 if settings.schedule == "constant" else n_steps
    return _programs(dataclasses.replace(settings, **UNCOMPILED), network, mesh, counted)


@functools.lru_cache(maxsize=KEPT)
def _programs(settings: TrainConfig, network: Network, mesh: Mesh, n_steps: int) -> Programs:
    optimizer = make_optimizer(settings, n_steps, network.decay_mask())
    places, everywhere = state_shardings(network, optimizer, mesh), replicated(mesh)
    init = jax.jit(optimizer.init, out_shardings=places.opt_state)
    update = functools.partial(train_step, network, optimizer, dropout=settings.dropout, accumulate=settings.accumulate)

    def start(params: Params) -> TrainState:
        return TrainState(place(np.zeros((), np.int32), places.step), params, init(params))

    def step(state: TrainState, rows: Any, words: jax.Array | None, **rest: Any) -> tuple:
        return *update(state, rows, **rest), Votes.count(words)

    compiled = jax.jit(step, donate_argnums=0, out_shardings=(places, everywhere, everywhere))
    rate = make_schedule(settings, n_steps)
    constant = settings.schedule == "constant" and not settings.warmup_steps  # a float, told with all its digits
    return Programs(optimizer, start, compiled, rate if constant else jax.jit(rate))
