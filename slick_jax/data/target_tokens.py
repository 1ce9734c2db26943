"""Prompts and what is to be written behind them, as tokens; training and greedy evaluation cut them alike."""

from __future__ import annotations

from collections.abc import Sequence

from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.errors import InputError


def target_problem(row: str, what: str, target: Sequence[int], limit: int) -> str | None:
    """What is wrong with a target of more than `limit` tokens with its end-of-text; `what` it is of row `row`."""
    if len(target) + 1 <= limit:
        return None
    return (
        f"row {row!r}: {what} takes {len(target) + 1} tokens with its end; raise train.max_target_tokens (it is"
        f" {limit}) or drop the row"
    )


def prompt_problem(row: str, prompt: Sequence[int], limit: int, positions: int | None, where: str) -> str | None:
    """What is wrong with a prompt that leaves no room for `limit` tokens in the `positions` of the model `where`."""
    if positions is None or len(prompt) + limit <= positions:
        return None
    return (
        f"row {row!r}: its prompt has {len(prompt)} tokens, and max_position_embeddings={positions} of {where} leaves"
        f" fewer than train.max_target_tokens={limit} behind it; shorten or drop the row"
    )


def target_tokens(
    style: Qa | Chat, prompts: Sequence[str], targets: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """(tokens of the prompt, tokens of the target behind it) per pair, both given as plain text; no end-of-text.

    The prompt's tokens are those it has alone, as at inference. A tokenizer that merges across the border has the
    target's bytes cut greedily instead. Raises InputError for a target that its tokens cannot spell then.
    """
    tokenizer = style.tokenizer
    prompts = [style.zero_shot(prompt) for prompt in prompts]
    targets = [style.target_before + target for target in targets]
    opened = style.encode(prompts)
    whole = style.encode([prompt + target for prompt, target in zip(prompts, targets, strict=True)])
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
