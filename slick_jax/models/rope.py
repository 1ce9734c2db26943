"""Rotary positions (Su et al. 2021): frequencies, their scalings, and the rotation of queries and keys."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from slick_jax.models.spec import ModelSpec, RopeScaling


class Rotary(NamedTuple):
    """Cosines and sines of the rotary angles, in float32; R: rotated entries of a head."""

    cos: Float[Array, "*kinds G _ T 1 R/2"]
    sin: Float[Array, "*kinds G _ T 1 R/2"]


def rope_kinds(spec: ModelSpec) -> tuple[str, ...]:
    """The distinct ropes of the layers; no rope at all for learned positions."""
    if spec.positions == "learned":
        return ()
    return ("global",) if spec.ropes is None else tuple(sorted(set(spec.ropes)))


def rotary_angles(spec: ModelSpec, positions: Int[Array, "G _ T"]) -> Rotary | None:
    """Angles at `positions`, in float32: bfloat16 cannot hold positions above 256.

    Models whose layers differ get a leading axis, in the order of `rope_kinds`; a layer without rope has angle 0.
    """
    kinds = rope_kinds(spec)
    if not kinds:
        return None
    frequencies = np.stack([_frequencies(spec, kind) for kind in kinds])
    factors = np.array([_attention_factor(spec, kind) for kind in kinds], np.float32)
    if len(kinds) == 1:
        frequencies, factors = frequencies[0], factors[0]
    else:
        frequencies, factors = (part.reshape(len(kinds), *[1] * 4, -1) for part in (frequencies, factors))
    angles = positions[..., None, None].astype(jnp.float32) * frequencies
    if (factors == 1).all():
        return Rotary(jnp.cos(angles), jnp.sin(angles))
    return Rotary(jnp.cos(angles) * factors, jnp.sin(angles) * factors)


def rotate(x: Float[Array, "G B T N H"], rotary: Rotary) -> Float[Array, "G B T N H"]:
    """Rotates pairs (i, i + R/2) of every head's leading R entries, the order of Hugging Face weights."""
    cos, sin = rotary
    rotated = 2 * cos.shape[-1]
    first, second = jnp.split(x[..., :rotated].astype(jnp.float32), 2, axis=-1)
    turned = [first * cos - second * sin, second * cos + first * sin]
    if rotated < x.shape[-1]:
        turned.append(x[..., rotated:].astype(jnp.float32))
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def rotary_frequencies(dim: int, theta: float, scaling: RopeScaling | None = None) -> Float[np.ndarray, " R/2"]:
    """Radians per token of `dim` rotated entries: theta^(-2i/R), changed as `scaling` says."""
    frequencies = 1.0 / theta ** (np.arange(0, dim, 2, dtype=np.float64) / dim)
    if scaling is not None:
        frequencies = _SCALINGS[scaling.kind](frequencies, scaling, theta)
    return frequencies.astype(np.float32)


def _frequencies(spec: ModelSpec, kind: str) -> Float[np.ndarray, " R/2"]:
    dim = spec.head_dim if spec.rotary_dim is None else spec.rotary_dim
    if kind == "none":
        return np.zeros(dim // 2, np.float32)
    if kind == "local":
        return rotary_frequencies(dim, spec.local_rope_theta)
    return rotary_frequencies(dim, spec.rope_theta, spec.rope_scaling)


def _attention_factor(spec: ModelSpec, kind: str) -> float:
    return spec.rope_scaling.attention_factor if kind == "global" and spec.rope_scaling is not None else 1.0


def _linear(frequencies: np.ndarray, scaling: RopeScaling, theta: float) -> np.ndarray:
    return frequencies / scaling.factor


def _llama3(frequencies: np.ndarray, scaling: RopeScaling, theta: float) -> np.ndarray:
    """Wavelengths short against the original context stay, long ones are stretched, those between blend."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    share = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = np.clip(share, 0.0, 1.0)
    return frequencies * kept + frequencies / scaling.factor * (1.0 - kept)


def _yarn(frequencies: np.ndarray, scaling: RopeScaling, theta: float) -> np.ndarray:
    """Peng et al. 2023: a ramp over the entries of a head from those kept to those stretched."""
    dim = 2 * len(frequencies)

    def entry(turns: float) -> float:
        """Where in the head a wave makes this many turns in the original context."""
        return dim * math.log(scaling.original_max_position_embeddings / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = entry(scaling.beta_fast), entry(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001  # transformers' way around a ramp of no width
    stretched = np.clip((np.arange(dim // 2) - low) / (high - low), 0.0, 1.0)
    return frequencies / scaling.factor * stretched + frequencies * (1.0 - stretched)


def _longrope(frequencies: np.ndarray, scaling: RopeScaling, theta: float) -> np.ndarray:
    return frequencies / np.asarray(scaling.short_factor)


def _dynamic(frequencies: np.ndarray, scaling: RopeScaling, theta: float) -> np.ndarray:
    return frequencies  # it would change them beyond max_position_embeddings, where prompts are refused


_SCALINGS = {"linear": _linear, "llama3": _llama3, "yarn": _yarn, "longrope": _longrope, "dynamic": _dynamic}
