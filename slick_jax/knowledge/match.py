"""Exact match of an answer with the gold answers, and whether an unfinished answer can still become one.

An answer is the text before the first newline; it is right when it matches exactly (SliCK: Gekhman et al., 2024). Two
rules come with the package: `strict`, and `squad`, the official SQuAD normalisation (Rajpurkar et al., 2016).
"""

import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slick_jax.errors import InputError
from slick_jax.settings import user_function

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_ARTICLE_BEFORE_END = re.compile(r"\b(a|an|the)\b(?!\Z)")
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]+")
# Each beginning of an article and the rest that would complete it; '' (already an article) is left out.
_ARTICLE_RESTS = {"a": ("n",), "an": (), "t": ("he",), "th": ("e",), "the": ()}
_ARTICLE_STARTS = tuple(_ARTICLE_RESTS)


def normalise(text: str) -> str:
    """`text` as SQuAD compares it: lower case, no ASCII punctuation, no articles, white space squeezed."""
    return " ".join(_ARTICLE.sub(" ", _PUNCTUATION.sub("", text.lower())).split())


def strict_key(text: str) -> str:
    """`text` without outer white space."""
    return text.strip()


def squad_key(text: str) -> str:
    """`normalise`; of a text that it empties ("The The", "!!!") the strict key, which no other text can have."""
    return normalise(text) or strict_key(text)


@dataclass(frozen=True)
class Rule:
    """A rule of the package: an answer is right when its key is that of a gold."""

    key: Callable[[str], str]
    within_squad: bool = False  # every hit is a squad hit, too: one fast test of viability serves it, and `strict`
    viable: Callable[[str, tuple[str, ...]], bool] | None = None  # else: as a user's own; None: all texts are viable


RULES = {"squad": Rule(squad_key, within_squad=True), "strict": Rule(strict_key, within_squad=True)}


@dataclass(frozen=True)
class Matcher:
    """A match rule. Built by `matcher`."""

    name: str  # as in the config: one of `RULES` or 'module:function'
    hit: Callable[[str, tuple[str, ...]], bool]  # (answer, golds) -> does any gold match?
    viable: Callable[[str, tuple[str, ...]], bool] | None = None  # None: within squad, or always viable
    key: Callable[[str], str] | None = None  # of a rule of the package
    within_squad: bool = False  # as of `Rule`
    source: str = ""  # SHA-256 of a user's module: another rule is another protocol


def matcher(name: str) -> Matcher:
    """The rule that the setting `annotate.match` names: one of `RULES` or a user's 'module:function'.

    A user's function takes (text, golds: tuple of str) and returns a bool. It may carry an attribute `viable` with the
    same signature: False only if no continuation of the text without a newline can match. Without it every unfinished
    text counts as viable, which is right and slower. Raises InputError when there is no such rule.
    """
    if name in RULES:
        rule = RULES[name]
        key = rule.key
        return Matcher(name, lambda text, golds: key(text) in map(key, golds), rule.viable, key, rule.within_squad)
    function, source = user_function.load(name, "annotate.match", ", ".join(map(repr, RULES)))
    viable = getattr(function, "viable", None)
    if viable is not None and not callable(viable):
        raise InputError(f"annotate.match={name!r}: its `viable` is {viable!r}; make it a function or remove it")
    return Matcher(name, function, viable, source=source)


class Golds:
    """The gold answers of one question under a rule: prepared once, asked hundreds of times."""

    def __init__(self, golds: tuple[str, ...], rule: Matcher):
        self.golds = tuple(gold.strip() for gold in golds)
        self.rule = rule
        self._normalised = tuple(normalise(gold) for gold in self.golds)
        self._strict = frozenset(map(strict_key, golds))
        self._right = frozenset(map(rule.key, golds)) if rule.key else None
        self._bare = tuple(gold for gold, rest in zip(self.golds, self._normalised, strict=True) if not rest)
        # '\n' + x is inside exactly if x begins a gold, '\n' + x + ' ' if it also ends at white space or with the gold.
        self._index = "".join(f"\n{_fold_sigma(gold)} " for gold in self._normalised if gold)
        starts = {gold[:1] for gold in (*filter(None, self._normalised), *map(str.lower, self._bare))}
        # Every letter that the first word of a matching text can start with.
        self._first = frozenset({"a", "t"} | starts | ({"ς", "σ"} if starts & {"ς", "σ"} else set()))

    def match(self, text: str) -> tuple[bool, bool]:
        """(strict hit, hit under the rule) of a finished answer; a hit is a match with any gold."""
        hit = self.rule.key(text) in self._right if self.rule.key else self._ask(self.rule.hit, text)
        return strict_key(text) in self._strict, hit

    def viable(self, text: str) -> bool:
        """False only if no continuation of `text` without a newline can be a hit under `strict`, `squad` or the rule.

        For the rule 'strict' too it answers for both built-in rules, so that one pass can store both.
        """
        if self.rule.within_squad:
            return self._can_be_squad(text)
        if self.rule.viable is None:
            return True
        return any(_begins(text, gold) for gold in self.golds) or self._ask(self.rule.viable, text)

    def completions(self, text: str) -> str | None:
        """What to draft after `text`: the first suffix of a gold with which it matches under `squad` or `strict`, or
        under a rule of the package with other hits than theirs.

        Tried are, gold by gold, the gold's own rest (as many characters on as the text is long), then every suffix from
        the longest: alone, behind a space, or behind the rest of an article that the text has begun. None if none does.
        """
        key = self.rule.key if self.rule.key and not self.rule.within_squad else squad_key
        if key is squad_key and not self._can_be_squad(text):
            return None
        word = _begun_article(_PUNCTUATION.sub("", text.lower()))
        leads = ("", " ", *(f"{rest} " for rest in _ARTICLE_RESTS.get(word, ())))
        for gold in self.golds:
            for completion in _candidates(text, gold, leads):
                if key(text + completion) == key(gold):
                    return completion
        return None

    def _ask(self, function: Callable[[str, tuple[str, ...]], bool], text: str) -> bool:
        """The answer of a user's function, or an InputError that says on what it failed."""
        try:
            return bool(function(text, self.golds))
        except Exception as error:  # the user's code may raise anything
            raise InputError(
                f"annotate.match={self.rule.name!r}: {function.__name__}({text!r}, {self.golds!r}) failed with"
                f" {type(error).__name__}: {error}; a rule must answer for every text"
            ) from error

    def _can_be_squad(self, text: str) -> bool:
        start = text.lstrip()[:1].lower()
        if start not in self._first and start.isalnum():
            return False  # the usual wrong answer: its first word is no article and starts with another letter
        folded = _fold_sigma(_PUNCTUATION.sub("", text.lower()))
        known = _ARTICLE_BEFORE_END.sub(" ", folded)  # a last word may go on, so it is no article yet
        squeezed = " ".join(known.split())
        closed = known[-1:].isspace() and squeezed != ""
        if (f"\n{squeezed} " if closed else f"\n{squeezed}") in self._index:
            return True
        if self._bare and any(_begins(text, gold) for gold in self._bare):
            return True
        word = _begun_article(squeezed)
        if closed or not word:
            return False
        # The last word may also become an article and vanish: what stands before it must then end at white space.
        before = squeezed[: -len(word)].rstrip()
        return (f"\n{before} " if before else "\n") in self._index


def abstention_golds(phrases: tuple[str, ...]) -> Golds | None:
    """What counts as abstaining: any of `annotate.abstain_phrases` under `squad`; None where there are none."""
    return Golds(phrases, matcher("squad")) if phrases else None


def _candidates(text: str, gold: str, leads: tuple[str, ...]) -> Iterator[str]:
    """Continuations of `text` that may spell `gold`, the likeliest first."""
    yield gold[len(text.lstrip()) :]
    for cut in range(len(gold) + 1):
        for lead in leads:
            yield lead + gold[cut:] if cut < len(gold) else lead.rstrip()


def _begins(text: str, gold: str) -> bool:
    """Whether a continuation of `text` can equal `gold`, which is stripped, up to outer white space."""
    text = text.lstrip()
    return gold.startswith(text) or text.rstrip() == gold


def _fold_sigma(text: str) -> str:
    """Lower-cased `text` with one form of sigma: which form Σ lowers to hangs on what follows it."""
    return text.replace("ς", "σ")


def _begun_article(text: str) -> str:
    """The last word of `text` if an article begins with it, else ''. `text` is in lower case without punctuation."""
    if text.endswith(_ARTICLE_STARTS):
        for word in _ARTICLE_STARTS:
            if text.endswith(word) and not text[-len(word) - 1 : -len(word)].isalnum():
                return word
    return ""
