"""Optimizers and learning rates, from the settings of a config."""

from typing import Any

import optax

from slick_jax.config import PretrainConfig, TrainConfig


def make_schedule(settings: PretrainConfig | TrainConfig, n_steps: int) -> optax.Schedule:
    """Learning rate by step: linear from 0 to `peak_lr` over `warmup_steps`, then constant or a cosine.

    The cosine ends at step `n_steps`, for pretraining at `final_lr_fraction` of the peak, for fine-tuning at 0.
    """
    peak, warmup = settings.peak_lr, settings.warmup_steps
    if isinstance(settings, TrainConfig) and settings.schedule == "constant":
        rest = optax.constant_schedule(peak)
    else:
        final = settings.final_lr_fraction if isinstance(settings, PretrainConfig) else 0.0
        rest = optax.cosine_decay_schedule(peak, max(n_steps - warmup, 1), alpha=final)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), rest], [warmup]) if warmup else rest


def make_optimizer(
    settings: PretrainConfig | TrainConfig, n_steps: int, decay_mask: Any
) -> optax.GradientTransformation:
    """The optimizer of a run of `n_steps`; gradients are first scaled down to a global norm of `clip_norm` (0: never).

    `decay_mask` is a tree like the parameters: True where weight decay applies (matrices, not norms and biases).
    Adafactor is Optax's, with updates relative to each parameter's scale; the layers of a stacked weight share theirs.
    """
    schedule = make_schedule(settings, n_steps)
    clip = optax.clip_by_global_norm(settings.clip_norm) if settings.clip_norm else optax.identity()
    if isinstance(settings, TrainConfig) and settings.optimizer == "adafactor":
        decay = (lambda step: settings.weight_decay * schedule(step)) if settings.weight_decay else None
        adafactor = optax.adafactor(schedule, weight_decay_rate=decay, weight_decay_mask=decay_mask)
        return optax.chain(clip, adafactor)
    eps = settings.eps if isinstance(settings, TrainConfig) else 1e-8
    return optax.chain(
        clip, optax.adamw(schedule, b2=settings.b2, eps=eps, weight_decay=settings.weight_decay, mask=decay_mask)
    )
