"""Matching against the official SQuAD script, and `viable` against brute force over continuations."""

import itertools
import random
import re
import string
import sys
from functools import cache, partial

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from slick_jax.knowledge.match import Golds, matcher, normalise

# Articles and their parts, punctuation, white space of every kind, letters whose lower case hangs on context or grows,
# combining marks and non-ASCII punctuation (both are no word characters, so an article can stand right before them).
TRAPS = (
    *("a", "an", "the", "The", "AN", "t", "th", "he", "n", "e", "b", "Bx", "7", "²", "ß", "ﬁ", "\u212a"),
    *("_", ".", "!", "'", "-", "$", "–", "…", "\u200b", "\u0301", "\u0307"),
    *(" ", " ", " ", "\u00a0", "\u2028", "\x0b", "\x1c", "\x85", "\u3000"),
    *("İ", "i", "ı", "Σ", "σ", "ς", "ΟΔΟΣ", "α"),
)
NAMES = (
    *("Paris", "New York City", "The Hague", "Antwerp", "Theodore Roosevelt", "Saint-Étienne", "Île-de-France"),
    *("A Tale of Two Cities", "Bank of the West", "U.S.A.", "Οδυσσεύς", "İzmir", "Tromsø", "São Paulo", "Straße 7"),
    *("United Kingdom", "United States of America", "Johann Sebastian Bach", "1984", "C++", "Ha!", "rock and roll"),
    *("J. R. R. Tolkien", "Y–The–Z", "Alİ Bey"),
)
EMPTIED = ("The The", "!!!", "A", "an", "?", "a. the")


def is_squad(text, gold):
    return matcher("squad").hit(text, (gold,))


def is_strict(text, gold):
    return matcher("strict").hit(text, (gold,))


def official(text):
    """The official SQuAD script: lower, remove_punc, remove_articles, white_space_fix."""
    exclude = set(string.punctuation)
    text = "".join(ch for ch in text.lower() if ch not in exclude)
    text = re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text)
    return " ".join(text.split())


def official_match(text, gold):
    return official(text) == official(gold) if official(gold) else text.strip() == gold.strip()


def stepwise(text, gold, *, half=True, sigma=True, lower_first=True, drop_first=True):
    """Viability, step by step and slowly; each switch that is turned off makes a wrong version."""
    wanted = official(gold)
    if not wanted:
        return gold.strip().startswith(text.lstrip()) or gold.strip() == text.strip()
    drop = str.maketrans("", "", string.punctuation)
    text = text.lower() if lower_first else text
    text = text.translate(drop) if drop_first else text
    fold = (lambda s: s.replace("ς", "σ")) if sigma else (lambda s: s)
    cut = len(text)
    while cut and (text[cut - 1].isalnum() or text[cut - 1] == "_"):
        cut -= 1
    rest, word = text[:cut], fold(text[cut:].lower())
    rest = re.sub(r"\b(a|an|the)\b", " ", rest.lower().translate(drop))
    head, wanted = fold(" ".join(rest.split())), fold(wanted)
    if not wanted.startswith(head):
        return False
    after = wanted[len(head) :]
    apart = not head or not after or after.startswith(" ")
    begun = any(article.startswith(word) if half else article == word for article in ("a", "an", "the"))
    if word and begun and apart:
        return True
    if rest[-1:].isspace() or not head:
        return apart and after.lstrip().startswith(word)
    return after.startswith(word)


def viable(text, gold):
    return Golds((gold,), matcher("squad")).viable(text)


@st.composite
def hits(draw, golds=None):
    """(a text that matches, the gold): the gold with articles, punctuation, white space and case changed."""
    gold = draw(golds or st.lists(st.sampled_from(TRAPS), min_size=1, max_size=7).map("".join))
    return vary(gold, lambda choices: draw(st.sampled_from(choices))), gold


def vary(gold, choose):
    """`gold` under changes that mostly keep its normal form; `choose` picks one of several."""
    mark = ("", "", "", "", ".", "_", "'")
    space = (" ", " ", "\u00a0", "\u2028", "\x1c", "\x0b ")
    articles = ("", "", "The", "a", "aN", "t-h.e", "A_")
    pieces = [choose(("", "", *space))]
    if choose((True, False)):
        pieces += [choose(articles), choose((" ", " ", "–", ""))]
    for char in gold:
        if char.isspace():
            pieces += [choose((*space, "")), choose(articles), choose(space)]  # '' for 'İthe': i, a mark, an article
        else:
            pieces += [choose(mark), choose((char, char.lower(), char.upper()))]
    pieces += [choose(("", " ", ".", " the", "\u00a0a ", ". An", "!"))]
    return "".join(pieces).replace("\n", " ")


def prefixes(text):
    return [text[:end] for end in range(len(text) + 1)]


trap_texts = st.lists(st.sampled_from(TRAPS), max_size=7).map("".join)


@given(st.one_of(st.text(), trap_texts))
@example("thé the–x a\u0301 t.h.e An_ x")
def test_normalise_is_the_official_script(text):
    assert normalise(text) == official(text)


@given(st.one_of(hits(), st.tuples(trap_texts, trap_texts)))
@settings(max_examples=300)
def test_both_rules_agree_with_the_official_script(pair):
    text, gold = pair
    assert is_squad(text, gold) == official_match(text, gold)
    assert Golds((gold,), matcher("squad")).match(text) == (text.strip() == gold.strip(), official_match(text, gold))
    assert is_squad(text, gold) or not is_strict(text, gold), "strict hits are a subset"


@pytest.mark.parametrize(
    ("text", "gold", "under_strict", "under_squad"),
    [
        (" Paris ", "Paris", True, True),
        ("the  paris!", "Paris", False, True),
        ("Paris, France", "Paris", False, False),
        ("The The", "The The", True, True),
        ("a", "The The", False, False),
        ("", "!!!", False, False),
        ("!!! ", " !!!", True, True),
        ("t.h.e U.S.", "US", False, True),
        ("the–x", "–x", False, True),
        ("ΟΔΟΣ", "οδος", False, True),
        ("οδοσ", "οδος", False, False),
        ("a\u0301", "\u0301", False, True),
    ],
)
def test_known_verdicts(text, gold, under_strict, under_squad):
    assert (is_strict(text, gold), is_squad(text, gold)) == (under_strict, under_squad)


@given(hits())
@settings(max_examples=600, deadline=None)
@example(("The–ΟΔΟΣ. ", "–οδος"))
@example((" t.h.e The The", "The The"))
def test_every_beginning_of_a_match_is_viable(pair):
    text, gold = pair
    assume(official_match(text, gold))
    assert all(viable(beginning, gold) for beginning in prefixes(text))
    assert all(stepwise(beginning, gold) for beginning in prefixes(text)), "the test's own version"


@given(trap_texts, trap_texts)
@settings(max_examples=600)
def test_viable_equals_the_stepwise_version(text, gold):
    assert viable(text, gold) == stepwise(text, gold)


def by_gold(alphabet, longest):
    """Every text up to `longest` characters, grouped by a gold that it matches (its normal form, or itself)."""
    groups = {}
    for length in range(longest + 1):
        for chars in itertools.product(alphabet, repeat=length):
            text = "".join(chars)
            groups.setdefault(official(text) or text.strip(), []).append(text)
    return groups


def test_brute_force_never_refuses():
    checked = 0
    for gold, texts in by_gold("anthe .bΣσ", 5).items():
        golds = Golds((gold,), matcher("squad"))
        for text in set(itertools.chain.from_iterable(map(prefixes, texts))):
            assert golds.viable(text), (text, gold)
            checked += 1
    assert checked > 300_000


def test_brute_force_refuses_all_the_rest():
    # Without sigma, whose two forms are taken as one, `viable` is exact: what it lets pass has a continuation.
    alphabet, groups = "an .b–", by_gold("an .b–", 6)
    short = ["".join(chars) for n in range(4) for chars in itertools.product(alphabet, repeat=n)]
    refused = 0
    for gold in (gold for gold in groups if official(gold) and len(gold) <= 2):
        can_match = {beginning for text in groups[gold] for beginning in prefixes(text)}
        golds = Golds((gold,), matcher("squad"))
        for text in short:
            assert golds.viable(text) == (text in can_match), (text, gold)
            refused += text not in can_match
    assert refused > 1000


WRONG = {
    "by normalised prefix": lambda text, gold: official(gold).startswith(official(text)),
    "half articles refused": partial(stepwise, half=False),
    "final sigma kept": partial(stepwise, sigma=False),
    "split before lower case": partial(stepwise, lower_first=False),
    "split before punctuation is dropped": partial(stepwise, drop_first=False),
}


@cache
def witnesses():
    """All (beginning of a match, gold) pairs, from names and traps with seeded changes."""
    rng, pairs = random.Random(0), []
    for _ in range(4000):
        gold = rng.choice((*NAMES, *EMPTIED, "".join(rng.choices(TRAPS, k=4))))
        text = vary(gold, rng.choice)
        if official_match(text, gold):
            pairs += [(beginning, gold) for beginning in prefixes(text)]
    return pairs


@pytest.mark.parametrize("name", WRONG)
def test_wrong_versions_are_caught(name):
    assert any(not WRONG[name](text, gold) for text, gold in witnesses())


def test_no_witness_is_refused():
    assert len(witnesses()) > 20_000
    assert [pair for pair in witnesses() if not viable(*pair)] == []


def test_most_wrong_texts_are_refused():
    wrong = [(f" {text[:n]}", gold) for gold in NAMES for text in NAMES if text != gold for n in (3, 6, len(text))]
    assert sum(viable(*pair) for pair in wrong) < 0.1 * len(wrong)


@pytest.mark.parametrize(
    ("text", "gold", "answer"),
    [
        ("", "Paris", True),
        (" \u00a0", "Paris", True),
        ("...", "Paris", True),
        ("new ", "Newton", False),
        ("new", "Newton", True),
        ("an", "Another", True),
        ("an ", "Another", True),  # the article, then 'another'
        ("th", "Beatles", True),
        ("thx", "Beatles", False),
        ("the–", "–x", True),
        ("the–", "x", False),
        ("x–th", "x–y", False),  # an article leaves white space, which this gold lacks
        ("ΟΔΟΣ", "Οδοσία", True),
        ("i\u0307z", "İzmir", True),
        ("I", "İzmir", True),
        ("The", "The The", True),
        ("the", "The The", False),
        ("!!! ", "!!!", True),
        ("!! ", "!!!", False),
        ("", "!!!", True),
    ],
)
def test_known_viability(text, gold, answer):
    assert viable(text, gold) is answer


def test_lower_case_is_free_of_context_but_for_sigma():
    # What `viable` rests on: no other letter of this Python's Unicode lowers by its neighbours, or changes twice.
    every = [chr(code) for code in range(sys.maxunicode + 1) if chr(code) != "Σ"]
    assert all(f"x{char}x".lower() == f"x{char.lower()}x" and char.lower().lower() == char.lower() for char in every)


def test_any_gold_of_several_counts():
    golds = Golds(("United States", "USA", "!!!"), matcher("squad"))
    assert golds.match("the u.s.a.") == (False, True)
    assert golds.match(" United States") == (True, True)
    assert golds.match("!!") == (False, False)
    assert [golds.viable(text) for text in (" uni", " U.S", "!!", "UK", "USA United", "")] == [1, 1, 1, 0, 0, 1]


def test_rule_strict_judges_strictly_and_stays_viable_for_both():
    golds = Golds(("The Hague",), matcher("strict"))
    assert golds.match("hague") == (False, False)
    assert golds.match(" The Hague") == (True, True)
    assert golds.viable("hag")
    assert matcher("strict").hit("a ", ("b", "a")) and not matcher("strict").hit("A", ("b", "a"))
    assert matcher("squad").hit("the A1", ("b", "a1"))


@pytest.mark.parametrize(
    ("text", "gold", "completion"),
    [
        ("", "Paris", "Paris"),
        (" Pa", "Paris", "ris"),
        ("The", "Beatles", " Beatles"),
        ("The ", "Beatles", "Beatles"),
        (" th", "Beatles", "e Beatles"),
        (" T", "Beatles", "he Beatles"),
        ("the", "The Beatles!", " Beatles!"),
        ("bea", "The Beatles!", "tles!"),
        ("Paris", "Paris", ""),
        ("Paris t", "Paris", "he"),
        ("US", "U.S.A.", ".A."),
        ("!", "!!!", "!!"),
        ("Rome", "Paris", None),
    ],
)
def test_completions(text, gold, completion):
    assert Golds((gold,), matcher("squad")).completions(text) == completion


@given(hits(), st.integers(0, 20))
@settings(max_examples=400, deadline=None)
def test_completions_match(pair, end):
    text, gold = pair
    completion = Golds((gold,), matcher("squad")).completions(text[:end])
    assert completion is None or official_match(text[:end] + completion, gold)


@given(st.one_of(st.sampled_from(NAMES + EMPTIED), trap_texts), st.integers(0, 20))
@settings(max_examples=400)
def test_a_beginning_of_the_gold_has_a_completion(gold, end):
    completion = Golds(("first alias", gold), matcher("squad")).completions(gold[:end])
    assert completion is not None
    assert any(official_match(gold[:end] + completion, each) for each in ("first alias", gold))
