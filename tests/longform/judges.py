"""Functions of a user, as tests of verifiers name them."""


def overlap(claim, passages):
    """Share of the claim's words that are in the best passage."""
    words = claim.lower().rstrip(".").split()
    return sum(word in passages[0].lower() for word in words) / len(words)


def percent(claim, passages):
    return 70


def broken(claim, passages):
    raise KeyError("no key")


def contained(claim, passages):
    """Whether a passage has the claim, word for word."""
    return any(claim.rpartition(": ")[2] in passage for passage in passages)
