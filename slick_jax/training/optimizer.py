"""AdamW with a warm-up and a cosine, from the settings of a config."""

import math
from typing import Any

import optax

from slick_jax.config import PretrainConfig


def make_schedule(settings: PretrainConfig, n_steps: int) -> optax.Schedule:
    """Learning rate by step: linear from 0 to `peak_lr`, then a cosine to `final_lr_fraction` of it at `n_steps`."""
    peak, warmup = settings.peak_lr, settings.warmup_steps
    decay = optax.cosine_decay_schedule(peak, max(n_steps - warmup, 1), alpha=settings.final_lr_fraction)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), decay], [warmup]) if warmup else decay


def make_optimizer(settings: PretrainConfig, n_steps: int, decay_mask: Any) -> optax.GradientTransformation:
    """AdamW for a run of `n_steps`; gradients are first scaled down to a global norm of `clip_norm`.

    `decay_mask` is a tree like the parameters: True where weight decay applies (matrices, not norms and biases).
    """
    clip = optax.clip_by_global_norm(settings.clip_norm if settings.clip_norm else math.inf)
    adamw = optax.adamw(
        make_schedule(settings, n_steps), b2=settings.b2, weight_decay=settings.weight_decay, mask=decay_mask
    )
    return optax.chain(clip, adamw)
