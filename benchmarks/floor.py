"""The least arithmetic that verification of a run needs, counted from its prompts."""

from __future__ import annotations

from slick_jax.knowledge.preparation import Prepared
from slick_jax.models.flops import forward_flops
from slick_jax.models.spec import ModelSpec


def verification_flops(spec: ModelSpec, prepared: Prepared) -> dict[str, float]:
    """FLOPs of one pass over every shared prefix, and over every prompt's own tokens with its gold answers.

    By part, as `forward_flops` has them, the head at the last prompt token and at every answer token; and the tokens
    that were counted. Later rounds are not.
    """
    lengths = {key: len(prepared.prefix(key)) for key in {one.key for rests in prepared.rests for one in rests}}
    prefixes, own, judged = sum(lengths.values()), 0, 0
    seen = sum(length * (length + 1) // 2 for length in lengths.values())
    for rests, drafts in zip(prepared.rests, prepared.drafts, strict=True):
        for one in rests:
            before, rest = lengths[one.key], len(prepared.prompts.rest(one))
            for index, draft in enumerate(drafts):
                first, last = before + (rest if index else 0), before + rest + len(draft.tokens)
                own += last - first
                seen += (last * (last + 1) - first * (first + 1)) // 2
                judged += len(draft.tokens) + (index == 0)
    counted = {"prefix_tokens": prefixes, "own_tokens": own, "judged_positions": judged}
    return forward_flops(spec, prefixes + own, seen, judged) | counted
