"""Questions and answers: reading and checking them, EntityQuestions, the built-in world, tokenizers and prompts.

`examples.load_splits` is the one door: whatever the source, out come splits of `Example`.
"""
