"""The processes of a run: how they find each other (`joining`), see that one is gone (`peers`), and end (`signals`).

Most commands compute in `lockstep`; those of a study share its runs out (`shards`, `presence`), and on one machine its
cores (`workers`). `wakeup` and `aborts` tell what stops a process that cannot tell it itself.
"""
