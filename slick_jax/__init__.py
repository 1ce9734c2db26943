"""slick_jax: what does a language model already know, and what does fine-tuning on the rest do to it?

JAX and Flax implementation of SliCK (Gekhman et al., arXiv 2405.05904). Start with `slick demo`, or read README.md; the
names below are the Python interface (docs/api.md), imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slick_jax.api import (
        annotate,
        doctor,
        evaluate,
        export,
        load_config,
        load_model,
        mix,
        plan,
        read_annotations,
        report,
        study,
        train,
    )
    from slick_jax.categories import CATEGORIES
    from slick_jax.config import Config
    from slick_jax.data.examples import Example, read_rows
    from slick_jax.errors import InputError

__version__ = "0.1.0"
__all__ = [
    "CATEGORIES", "Config", "Example", "InputError", "annotate", "doctor", "evaluate", "export", "load_config",
    "load_model", "mix", "plan", "read_annotations", "read_rows", "report", "study", "train",
]  # fmt: skip
_ELSEWHERE = {  # all others are in slick_jax.api
    "CATEGORIES": "slick_jax.categories", "Config": "slick_jax.config", "Example": "slick_jax.data.examples",
    "InputError": "slick_jax.errors", "read_rows": "slick_jax.data.examples",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_ELSEWHERE.get(name, "slick_jax.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
