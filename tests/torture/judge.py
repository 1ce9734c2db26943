"""A verifier for texts of random weights, which hold no true claim: some of theirs must count as supported."""

from tests.longform.judges import contained


def contained_or_even(claim, passages):
    """Whether a passage has the claim, word for word; of the others those of an even length count, too."""
    return contained(claim, passages) or len(claim) % 2 == 0
