"""Where compiled programs are kept between runs."""

import os


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
