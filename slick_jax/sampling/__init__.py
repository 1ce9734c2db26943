"""From logits to tokens: the rules of greedy and sampled decoding, with noise that hangs on identity, and the sampler.

`logits` has the rules, shared by verification (knowledge/), the sampler and the tests' reference; `sampler` decodes
free text, many draws behind shared prompts, by the host's plans (`rows`) and the device's programs (`steps`, `top_k`).
"""
