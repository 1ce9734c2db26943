"""The decoder: what it is (spec), its weights (weight_table, weights) and how it computes (transformer).

Imports only jax, flax and numpy at module level, so that it runs on a bare accelerator image.
"""
