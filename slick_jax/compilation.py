"""Where compiled programs are kept between runs."""

import os


def use_compilation_cache() -> None:
    """Lets XLA keep compiled programs in $SLICK_CACHE (default ~/.cache/slick_jax/xla); call before importing jax."""
    folder = os.environ.get("SLICK_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "slick_jax", "xla")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
