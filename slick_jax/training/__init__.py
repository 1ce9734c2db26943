"""Training: pretraining on a corpus of facts, fine-tuning on mixtures, and what is measured and saved on the way.

`step` is the one update for any weighted rows, `loop` the epochs of fine-tuning, `record` what they measured.
"""
