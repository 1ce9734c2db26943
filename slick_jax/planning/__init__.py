"""What a run needs, before a device is paid for: memory, arithmetic, traffic and hours of every stage of a config.

Figures come from the same descriptions that the run uses: weight table, shardings, call shapes, programs. See
docs/plan.md. `plan` goes through the stages, `annotating` and `training` compile programs, `devices` is the table.
"""
