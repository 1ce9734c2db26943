"""Training: pretraining on a corpus of facts, fine-tuning on mixtures, and what is measured and saved on the way.

`train` prepares a fine-tuning run, `study` many of them; `loop` is its epochs, `step` the one update for any weighted
rows, `programs` what is compiled, `record` what was measured, `stops` and `result` what is kept of it at the end.
`pretrain` teaches a small model a corpus. `evaluate`, `export` and `shift` take what was trained.
"""
