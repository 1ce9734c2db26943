"""Training: the optimizer, one training step for any weighted rows, checkpoints, and pretraining on the built-in world.

Everything hot is a plain `jax.jit` over (static network and optimizer, state pytree).
"""
