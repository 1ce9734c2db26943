"""What a model knows about each example: exemplar prompts, gold-drafted verification, P_Correct and categories.

`annotate` drives all of it over a data set: `preparation` says what is asked behind which exemplars, `engine` keeps
parts under way, `verify` finds which of the 170 draws of an example hit, `estimate` turns hits into labels. Within
verification a `walk` follows the draws of one prompt, and a rule of `match` judges answers; `trees` and `batches` pack
what is to be forwarded into the few `shapes` that are compiled, `forward` runs them, `pools` keep keys and values.
`greedy` asks the same without exemplars, during and after training.
"""
