"""What a model knows about each example: exemplar prompts, gold-drafted verification, P_Correct and categories.

`match` judges answers, `verify` finds which of the 170 draws of an example hit, `estimate` turns hits into labels, and
`annotate` drives all of it over a data set; `greedy` asks the same without exemplars, during and after training.
"""
