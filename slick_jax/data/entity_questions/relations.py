"""The 24 relations of EntityQuestions (Wikidata properties): which the paper uses for what, and their questions."""

IN_DISTRIBUTION = ("P131", "P136", "P17", "P19", "P26", "P264", "P36", "P40", "P495", "P69", "P740", "P800")
OUT_OF_DISTRIBUTION = ("P127", "P50", "P407", "P176", "P170", "P175", "P112")
# Each overlaps an in-distribution relation: P276 P131, P20 P19, P106 and P413 P800, P159 P36.
LEFT_OUT = ("P276", "P20", "P106", "P413", "P159")
RELATIONS = IN_DISTRIBUTION + OUT_OF_DISTRIBUTION + LEFT_OUT

# What stands before and after the subject. P131 and P276 ask alike, so the relation cannot be told from the question.
TEMPLATES = {
    "P131": ("Where is ", " located?"),
    "P136": ("What type of music does ", " play?"),
    "P17": ("Which country is ", " located in?"),
    "P19": ("Where was ", " born?"),
    "P26": ("Who is ", " married to?"),
    "P264": ("What music label is ", " represented by?"),
    "P36": ("What is the capital of ", "?"),
    "P40": ("Who is ", "'s child?"),
    "P495": ("Which country was ", " created in?"),
    "P69": ("Where was ", " educated?"),
    "P740": ("Where was ", " founded?"),
    "P800": ("What is ", " famous for?"),
    "P127": ("Who owns ", "?"),
    "P50": ("Who is the author of ", "?"),
    "P407": ("Which language was ", " written in?"),
    "P176": ("Which company is ", " produced by?"),
    "P170": ("Who was ", " created by?"),
    "P175": ("Who performed ", "?"),
    "P112": ("Who founded ", "?"),
    "P276": ("Where is ", " located?"),
    "P20": ("Where did ", " die?"),
    "P106": ("What kind of work does ", " do?"),
    "P413": ("What position does ", " play?"),
    "P159": ("Where is the headquarter of ", "?"),
}


def subject_of(relation: str, question: str) -> str | None:
    """The subject that the relation's template was filled with; None where the question does not fit it."""
    before, after = TEMPLATES[relation]
    fits = question.startswith(before) and question.endswith(after) and len(question) > len(before) + len(after)
    return question[len(before) : -len(after)] if fits else None
