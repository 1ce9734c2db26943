"""What a decoded answer says: the text that is judged and kept."""

from __future__ import annotations

from collections.abc import Sequence

from slick_jax.data.tokenizer import Tokenizer


def text_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[str, bool]:
    """The text before the first newline of token ids with their stop, and whether it was cut at the token limit."""
    data = b"".join(tokenizer.token_bytes[token] for token in tokens)
    return data.split(b"\n", 1)[0].decode("utf-8", "replace"), not tokenizer.is_stop[tokens[-1]]
