"""BM25 over the passages of one reference text: which of them bear on a claim."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from slick_jax.longform.sentences import sentences

K1, B = 1.5, 0.75
PASSAGE_WORDS = 80  # a passage is whole sentences up to so many words, or one longer sentence
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text, case folded."""
    return _WORD.findall(text.casefold())


def passages_of(reference: str, most_words: int = PASSAGE_WORDS) -> list[str]:
    """A reference text in passages of whole sentences, in order, none of them empty."""
    found: list[list[str]] = []
    size = 0
    for sentence in sentences(reference):
        length = len(sentence.split())
        if not found or size + length > most_words:
            found.append([])
            size = 0
        found[-1].append(sentence)
        size += length
    return [" ".join(one) for one in found]


class Bm25:
    """Okapi BM25 (Robertson and Zaragoza 2009, equation 3.15) with the idf ln(1 + (N - n + 0.5) / (n + 0.5)) of Lucene,
    which stays positive for words that most of a few passages hold."""

    def __init__(self, passages: Sequence[str], k1: float = K1, b: float = B):
        self.passages = list(passages)
        counts = [Counter(words(passage)) for passage in self.passages]
        lengths = np.array([sum(count.values()) for count in counts], np.float64)
        mean = lengths.mean() if lengths.sum() else 1.0
        self._damping = k1 * (1 - b + b * lengths / mean)
        self._counts, self._k1 = counts, k1
        self._in = Counter(word for count in counts for word in count)

    def scores(self, query: str) -> np.ndarray:
        """float64 [passages]; a word that the query repeats counts each time."""
        total = np.zeros(len(self.passages))
        for word in words(query):
            if word in self._in:
                number = self._in[word]
                idf = np.log1p((len(self.passages) - number + 0.5) / (number + 0.5))
                seen = np.array([count[word] for count in self._counts], np.float64)
                total += idf * seen * (self._k1 + 1) / (seen + self._damping)
        return total

    def best(self, query: str, count: int) -> list[str]:
        """The `count` passages with the highest scores, the best first, ties in the order of the text."""
        order = np.argsort(-self.scores(query), kind="stable")
        return [self.passages[place] for place in order[:count]]
