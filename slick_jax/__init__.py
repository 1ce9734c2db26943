"""slick_jax: what does a language model already know, and what does fine-tuning on the rest do to it?

JAX and Flax implementation of SliCK (Gekhman et al., arXiv 2405.05904). Start with `slick demo`, or read README.md.
"""

__version__ = "0.1.0"
