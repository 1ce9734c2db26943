"""Long-form factuality: texts, their claims, the model's belief in them, and what fine-tuning on them does.

`records` says what passes between the stages; each stage is a file, and a command.
"""
