"""The four SliCK categories (paper table 1), the two groups that mixtures are made of, and where certainty is kept."""

CATEGORIES = ("HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown")
KNOWN, UNKNOWN = CATEGORIES[:3], CATEGORIES[3]
GROUPS = {"Known": KNOWN, UNKNOWN: (UNKNOWN,)}
CERTAINTY = dict(zip(CATEGORIES, ("p_highly", "p_maybe", "p_weakly", "p_unknown"), strict=True))  # columns
