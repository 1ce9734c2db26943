"""Long-form factuality: texts, their claims, the model's belief in them, and what fine-tuning on them does.

`study` goes through the stages, each a command of its own; what a domain has of them is in `rooms` and `room_beliefs`,
and `records` says what passes between them.
"""
