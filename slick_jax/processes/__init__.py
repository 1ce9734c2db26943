"""The processes of a run: how they find each other (`joining`), see that one is gone (`peers`), and end (`signals`).

Those of a study share its runs out (`shards`, `presence`); those of one machine share its cores (`workers`).
"""
