"""Every setting at its default; other configs start here, and `slick validate` prints them all.

    slick validate --config=configs/base.py --config.data.path=my_rows.jsonl

Takes a second and writes nothing. What each setting means is in slick_jax/config.py and slick_jax/settings.
"""

from slick_jax import config


def get_config():
    return config.defaults()
