"""Where compiled programs are kept: between runs on the disk, and between the runs of one process."""

import functools
import os
from collections.abc import Callable, Hashable
from typing import Any

COMPILERS = 4  # more gain little: the parts of a program are compiled side by side as well
PROGRAMS = 64  # functions whose compiled programs a process keeps, each of them for all shapes it met


def use_compilation_cache() -> None:
    """Lets XLA keep compiled programs in $SLICK_CACHE (default ~/.cache/slick_jax/xla); call before anything compiles.

    JAX's own variables, where they are set, win. The choice goes to the environment, for processes started from here,
    and to JAX's settings, as JAX reads the environment only when it is imported, which may have happened.
    """
    import jax

    folder = os.environ.get("SLICK_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "slick_jax", "xla")
    chosen = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.2,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in chosen.items():
        if name.upper() not in os.environ:
            os.environ[name.upper()] = str(value)
            jax.config.update(name, value)


def compilers() -> int:
    """Programs to compile at the same time: up to 4, and no more than cores, as each keeps one busy."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, COMPILERS)


@functools.lru_cache(maxsize=PROGRAMS)
def jitted(function: Callable, *static: Hashable, **options: Any) -> Any:
    """`jax.jit` of `function` with its first arguments, `static`, given: the same object for equal arguments.

    So the runs of one process (a study's, both stages of `slick gradual`, one annotation after the other) trace, lower
    and compile a program once. All of it must be hashable, and compare by value to be found again.
    """
    import jax

    return jax.jit(functools.partial(function, *static), **options)
