"""The least arithmetic that verification of a run needs, counted from its prompts."""

from __future__ import annotations

from slick_jax.knowledge.preparation import Prepared
from slick_jax.models.spec import ModelSpec


def verification_flops(spec: ModelSpec, prepared: Prepared) -> dict[str, float]:
    """FLOPs of one pass over every shared prefix, and over every prompt's own tokens with its gold answers.

    A linear map costs twice its weights per token, attention 4 x query heads x head_dim per token and position seen,
    the head twice d_model x vocabulary at the last prompt token and every answer token. Later rounds are not counted.
    """
    attention = spec.n_heads * spec.head_dim
    layer = spec.d_model * (2 * attention + 2 * spec.n_kv_heads * spec.head_dim + 3 * spec.d_mlp)
    prefixes, own, judged, seen = 0, 0, 0, 0
    for relation, numbers in prepared.used_sets.items():
        for number in numbers:
            length = len(prepared.prefix((relation, number)))
            prefixes += length
            seen += length * (length + 1) // 2
    for kept, drafts in zip(prepared.kept, prepared.drafts, strict=True):
        for place in kept:
            before, rest = len(prepared.prefix(place[0])), len(prepared.prompts.rest(place))
            for index, draft in enumerate(drafts):
                first, last = before + (rest if index else 0), before + rest + len(draft.tokens)
                own += last - first
                seen += (last * (last + 1) - first * (first + 1)) // 2
                judged += len(draft.tokens) + (index == 0)
    return {
        "linear": 2.0 * spec.n_layers * layer * (prefixes + own),
        "attention": 4.0 * spec.n_layers * attention * seen,
        "head": 2.0 * spec.d_model * spec.vocab_size * judged,
        "prefix_tokens": prefixes,
        "own_tokens": own,
        "judged_positions": judged,
    }
