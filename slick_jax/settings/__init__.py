"""From a config file and flags to a checked `slick_jax.config.Config`, or to one message with every mistake.

`config_file` reads, `rules`, `longform_rules` and `needs` check; `longform`, `doctor` and `plan` are sections of single
commands. `user_function` finds what a setting names as 'module:function', `setting_docs` what `--help` says of it.
"""
