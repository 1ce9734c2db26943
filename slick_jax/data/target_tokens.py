"""Prompts and what is to be written behind them, as tokens; training and greedy evaluation cut them alike."""

from __future__ import annotations

from collections.abc import Sequence

from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError


def end_of_text(tokenizer: Tokenizer, where: str) -> int:
    """The token that ends a trained answer. Raises InputError when the checkpoint `where` names none."""
    if not tokenizer.eos_ids:
        raise InputError(f"{where}: names no end-of-text token; set eos_token_id in its generation_config.json")
    return tokenizer.eos_ids[0]


def target_tokens(
    tokenizer: Tokenizer, prompts: Sequence[str], targets: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """(tokens of the prompt, tokens of the target behind it) per pair; no end-of-text.

    The prompt's tokens are those it has alone, as at inference. A tokenizer that merges across the border has the
    target's bytes cut greedily instead. Raises InputError for a target that its tokens cannot spell then.
    """
    opened = tokenizer.encode_batch(list(prompts))
    whole = tokenizer.encode_batch([prompt + target for prompt, target in zip(prompts, targets, strict=True)])
    found = []
    for prompt, tokens, target in zip(opened, whole, targets, strict=True):
        rest = tokens[len(prompt) :]
        if tokens[: len(prompt)] != prompt:
            rest = tokenizer.longest_match(target.encode())
            if b"".join(tokenizer.token_bytes[token] for token in rest) != target.encode():
                raise InputError(
                    f"the completion {target!r} merges with its prompt into other tokens and has none of its own;"
                    " end the prompt or begin the completion with white space"
                )
        found.append((prompt, rest))
    return found
