"""The four SliCK categories (paper table 1), and the two groups that mixtures are made of."""

CATEGORIES = ("HighlyKnown", "MaybeKnown", "WeaklyKnown", "Unknown")
KNOWN, UNKNOWN = CATEGORIES[:3], CATEGORIES[3]
GROUPS = {"Known": KNOWN, UNKNOWN: (UNKNOWN,)}
