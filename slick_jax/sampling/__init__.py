"""From logits to tokens: the rules of greedy and sampled decoding, with noise that hangs on identity.

`logits` is shared by verification (knowledge/) and by the tests' reference sampler.
"""
