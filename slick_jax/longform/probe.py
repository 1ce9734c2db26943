"""The model's own judgement as a direction: L2 logistic regression on the residual stream at a claim's last token.

The kind of probe of Newman et al. 2025 (arXiv 2507.08371): trained on claims of the model's own texts about entities
that nothing else is made of (split probe), on standardised features, classes weighted equally; the layer (and how
strongly weights are held down) is chosen by AUROC on split dev. Its score is a log-odds, which `calibration` turns into
belief. Chosen on dev and calibrated there, it is measured on other splits.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from etils import epath
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.numpy import load, save

from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.longform.measures import auroc
from slick_jax.longform.records import Claim, Entity, Text
from slick_jax.progress import Progress
from slick_jax.settings.longform import ProbeConfig

STRENGTHS = ProbeConfig.strengths  # inverse strength of the L2 penalty (scikit-learn's C)
NAMED = 10  # entities that an error names


@dataclass(frozen=True)
class Probe:
    """A fitted probe: sigmoid(weights @ ((state - mean) / scale) + bias) of the state after `layer` (0: embeddings).

    strength: the C that was chosen; dev_auroc: the best of every layer, [L+1].
    """

    layer: int
    mean: Float[np.ndarray, " D"]
    scale: Float[np.ndarray, " D"]
    weights: Float[np.ndarray, " D"]
    bias: float
    strength: float
    dev_auroc: tuple[float, ...]

    def score(self, states: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " n"]:
        """Log-odds that claims with these states (of the probe's layer) are supported."""
        return ((states.astype(np.float64) - self.mean) / self.scale) @ self.weights + self.bias

    def write(self, path: epath.PathLike) -> None:
        """As safetensors."""
        run_folder.write_bytes(path, save({name: np.atleast_1d(value) for name, value in vars(self).items()}))

    @classmethod
    def read(cls, path: epath.PathLike) -> Probe:
        """What `write` wrote. Raises InputError on a damaged file."""
        try:
            found = load(epath.Path(path).read_bytes())
            numbers = {name: found.pop(name).item() for name in ("layer", "bias", "strength")}
            return cls(dev_auroc=tuple(found.pop("dev_auroc").tolist()), **numbers, **found)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a probe ({error}); remove it and run again") from error


def fit(
    states: Float[np.ndarray, "L+1 N D"],
    labels: np.ndarray,
    train: Int[np.ndarray, " n"],
    dev: Int[np.ndarray, " m"],
    strengths: Sequence[float] = STRENGTHS,
    layers: Iterable[int] | None = None,
) -> Probe:
    """The probe with the best dev AUROC over layers and strengths; ties go to the lower layer, the stronger penalty.

    Args:
      states: of N claims, such as `hidden.keep_states` maps into memory: one layer is read at a time.
      labels: supported or not, bool [N].
      train, dev: which of the claims are fitted, and which choose.
      layers: those that may be chosen (default: all); the others count NaN in `dev_auroc`.

    Raises InputError where claims of a split are all supported, or all not.
    """
    from sklearn.linear_model import LogisticRegression

    labels = np.asarray(labels, bool)
    need_both({"probe": labels[train], "dev": labels[dev]})
    best, curve = None, np.full(len(states), np.nan)
    progress = Progress("probe", len(states), "layers")
    for layer in range(len(states)) if layers is None else sorted(layers):
        seen = np.asarray(states[layer])
        fitted, chosen = seen[train].astype(np.float64), seen[dev]
        mean, scale = fitted.mean(axis=0), fitted.std(axis=0)
        scale[scale == 0] = 1.0  # a feature that never changes
        fitted = (fitted - mean) / scale
        for strength in sorted(strengths):
            regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=3000)
            with warnings.catch_warnings():
                # strongly parted classes make the last digits slow to settle, which no ranking hangs on
                warnings.filterwarnings("ignore", message="lbfgs failed to converge")
                regression.fit(fitted, labels[train])
            weights, bias = regression.coef_[0], float(regression.intercept_[0])
            probe = Probe(layer, mean, scale, weights, bias, strength, ())
            found = float(auroc(probe.score(chosen), labels[dev], np.ones((1, len(dev))))[0])
            curve[layer] = np.nanmax([curve[layer], found])
            if best is None or found > best[0]:
                best = found, probe
        progress.show(layer + 1)
    return Probe(**{**vars(best[1]), "dev_auroc": tuple(curve.tolist())})


def check_split(
    claims: Sequence[Claim], split: str, entities: Mapping[str, Entity], texts: Mapping[str, Text] | None = None
) -> None:
    """Raises InputError, naming the entities, where claims are about entities of another split; or, given `texts`, are
    not of texts that the un-tuned model wrote."""
    problems = []
    leaked = sorted({claim.entity for claim in claims if entities[claim.entity].split != split})
    if leaked:
        problems.append(
            f"split {split}: claims are about entities of other splits ({_few(leaked, entities)}), so that nothing"
            f" measured on those would be worth a thing; give claims of split {split} alone"
        )
    foreign = sorted({claim.text for claim in claims if texts is not None and texts[claim.text].source != "generated"})
    if foreign:
        problems.append(
            f"{len(foreign)} texts ({', '.join(foreign[:NAMED])}) are not the un-tuned model's own, which the probe is"
            " trained on; give claims of generated texts alone"
        )
    if problems:
        raise InputError.of(problems)


def _few(ids: Sequence[str], entities: Mapping[str, Entity]) -> str:
    shown = ", ".join(f"{one!r} of {entities[one].split}" for one in ids[:NAMED])
    return shown if len(ids) <= NAMED else f"{shown} and {len(ids) - NAMED} more"


def need_both(labels: Mapping[str, np.ndarray]) -> None:
    """Raises InputError, naming the splits, where claims are all supported, or all not, or none."""
    problems = [
        f"split {split}: all {len(found)} claims are {'supported' if found.any() else 'unsupported'}, and a probe needs"
        " both kinds; give the split more entities, or look in generated/labels.parquet whether the verifier is right"
        for split, found in labels.items()
        if found.all() or not found.any()
    ]
    if problems:
        raise InputError.of(problems)
