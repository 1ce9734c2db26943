"""Looking at what is there: `slick ls` lists run folders, `slick show` tells all about one example.

Nothing here writes, takes a lock, or imports JAX.
"""
