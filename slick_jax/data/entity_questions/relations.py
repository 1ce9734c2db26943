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

# How a corpus tells the facts of the study's relations to a model that is made to learn them: {s} subject, {o} answer.
# The last of the three names the answer first, which teaches a left-to-right model little about it.
STATEMENTS = {
    "P131": ("{s} is located in {o}.", "{s} lies in {o}.", "{o} is where {s} is located."),
    "P136": ("{s} plays {o}.", "The music of {s} is {o}.", "Music of the kind {o} is what {s} plays."),
    "P17": ("{s} is in the country {o}.", "The country of {s} is {o}.", "{o} is the country of {s}."),
    "P19": ("{s} was born in {o}.", "The birthplace of {s} is {o}.", "{o} is where {s} was born."),
    "P26": ("{s} is married to {o}.", "The spouse of {s} is {o}.", "{o} is the spouse of {s}."),
    "P264": ("{s} is represented by {o}.", "The music label of {s} is {o}.", "{o} is the music label of {s}."),
    "P36": ("The capital of {s} is {o}.", "{s} is governed from {o}.", "{o} is the capital of {s}."),
    "P40": ("{s} has a child, {o}.", "The child of {s} is {o}.", "{o} is a child of {s}."),
    "P495": ("{s} was created in {o}.", "The country of origin of {s} is {o}.", "{o} is where {s} was created."),
    "P69": ("{s} was educated at {o}.", "{s} studied at {o}.", "{o} is where {s} was educated."),
    "P740": ("{s} was founded in {o}.", "The place where {s} was founded is {o}.", "{o} is where {s} was founded."),
    "P800": ("{s} is famous for {o}.", "The best known work of {s} is {o}.", "{o} is a work of {s}."),
    "P127": ("{s} is owned by {o}.", "The owner of {s} is {o}.", "{o} owns {s}."),
    "P50": ("{s} was written by {o}.", "The author of {s} is {o}.", "{o} is the author of {s}."),
    "P407": ("{s} was written in {o}.", "The language of {s} is {o}.", "{o} is the language of {s}."),
    "P176": ("{s} is produced by {o}.", "The maker of {s} is {o}.", "{o} is the company that makes {s}."),
    "P170": ("{s} was created by {o}.", "The creator of {s} is {o}.", "{o} created {s}."),
    "P175": ("{s} was performed by {o}.", "The performer of {s} is {o}.", "{o} performed {s}."),
    "P112": ("{s} was founded by {o}.", "The founder of {s} is {o}.", "{o} founded {s}."),
}


def subject_of(relation: str, question: str) -> str | None:
    """The subject that the relation's template was filled with; None where the question does not fit it."""
    before, after = TEMPLATES[relation]
    fits = question.startswith(before) and question.endswith(after) and len(question) > len(before) + len(after)
    return question[len(before) : -len(after)] if fits else None
