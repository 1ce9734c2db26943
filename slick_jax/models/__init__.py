"""The decoder: what it is (spec), its weights (weight_table, weights) and how it computes (transformer).

At module level it imports jax, flax, numpy, jaxtyping and what these bring with them, and no more, so that it runs on
a bare accelerator image.
"""
