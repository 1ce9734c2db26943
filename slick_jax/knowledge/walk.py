"""The host side of verification: draws and probability mass walked over the token paths of one question.

A node is a token path whose next-token choice the device has judged. Draws step from node to node; where one leaves the
judged paths, its text decides: it stopped (match or not), no gold can follow any more (wrong), or it is alive and its
path is judged in the next round (docs/how_it_works.md).
"""

from __future__ import annotations

import codecs
import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from slick_jax.knowledge.match import Golds

Path = tuple[int, ...]

# verdicts on a path with one more token, as bits
STOPPED, STRICT, HIT, ABSTAINED, OPEN, OPEN_ABSTAIN = (1 << bit for bit in range(6))
ALIVE = OPEN | OPEN_ABSTAIN
NEGLIGIBLE = 1e-9  # probability mass below which a path is left unjudged


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What a token means for an answer: the bytes it adds, and whether it ends it."""

    token_bytes: Sequence[bytes]
    stops: Sequence[bool]


@dataclasses.dataclass(frozen=True)
class Choice:
    """What may follow a judged token path: its text's bytes, the token of every draw (0 = greedy), the kept token ids
    by falling logit, and their probabilities at every (temperature, top k) of the protocol."""

    data: bytes
    draws: list[int]
    ids: list[int]
    shares: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Row:
    """What one draft asks of the device: `path` and every node of its drafted `continuation` are judged.

    targets: tokens whose log-probability is asked for, one per node; empty: none is.
    """

    walk: Walk
    path: Path
    continuation: Path
    targets: Sequence[int] = ()


def open_text(data: bytes) -> tuple[str, bytes]:
    """Text of an answer that may go on, and the bytes of its unfinished last character (left off the text)."""
    try:
        return data.decode("utf-8"), b""
    except UnicodeDecodeError:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(data), decoder.getstate()[0]


class Judge:
    """Verdicts for one question, remembered by text: the ten exemplar sets ask mostly the same."""

    def __init__(self, vocabulary: Vocabulary, golds: Golds, abstentions: Golds | None):
        self.vocabulary, self.golds, self.abstentions = vocabulary, golds, abstentions
        self._known: dict[bytes, Verdicts] = {}

    def verdicts(self, data: bytes) -> Verdicts:
        """Verdict bits for the answer text `data` with a token behind it, by token."""
        found = self._known.get(data)
        if found is None:
            found = self._known[data] = Verdicts(self, data)
        return found

    def decide(self, data: bytes, token: int) -> int:
        """The verdict itself; `verdicts` remembers it."""
        data = data + self.vocabulary.token_bytes[token]
        if self.vocabulary.stops[token]:
            text = data.split(b"\n", 1)[0].decode("utf-8", "replace")
            strict, hit = self.golds.match(text)
            abstained = self.abstentions is not None and any(self.abstentions.match(text))
            return STOPPED | STRICT * strict | HIT * hit | ABSTAINED * abstained
        text, _ = open_text(data)
        can_abstain = self.abstentions is not None and self.abstentions.viable(text)
        return OPEN * self.golds.viable(text) | OPEN_ABSTAIN * can_abstain

    def completion(self, data: bytes) -> bytes:
        """Bytes with which an alive text would most likely go on: the rest of a gold; empty when there is none."""
        text, pending = open_text(data)
        for golds in (self.golds, self.abstentions):
            if golds is not None:
                rest = golds.completions(text)
                if rest is not None and rest.encode().startswith(pending):
                    return rest.encode()[len(pending) :]
        return b""


class Verdicts(dict):
    """The verdicts on one text, decided when they are first asked for."""

    def __init__(self, judge: Judge, data: bytes):
        super().__init__()
        self._judge, self._data = judge, data

    def __missing__(self, token: int) -> int:
        found = self[token] = self._judge.decide(self._data, token)
        return found


class Mass:
    """Exact P_Correct of one walk at pair number `pair` of the protocol: path mass expanded node by node.

    `exact`: mass that ended in a match under (strict, rule), a lower bound; `frontier`: mass of viable paths not judged
    yet; `rest`: mass left unjudged for good because a path is negligible.
    """

    def __init__(self, pair: int):
        self.pair = pair
        self.exact = [0.0, 0.0]
        self.rest = 0.0
        self.frontier: dict[Path, float] = {(): 1.0}

    def advance(self, walk: Walk) -> None:
        """Expand every frontier path that has become a node."""
        ready = [path for path in self.frontier if path in walk.nodes]
        while ready:
            path = ready.pop()
            ready.extend(self._expand(walk, path, self.frontier.pop(path)))

    def _expand(self, walk: Walk, path: Path, mass: float) -> list[Path]:
        node, children = walk.nodes[path], []
        masses = (node.shares[self.pair] * mass).tolist()
        last = len(path) + 1 >= walk.limit
        verdicts = walk.judge.verdicts(node.data)
        for number, (token, part) in enumerate(zip(node.ids, masses, strict=False)):
            if part < NEGLIGIBLE:
                self.rest += sum(masses[number:])
                break
            found = verdicts[token]
            if found & HIT:
                self.exact[1] += part
            if found & STRICT:
                self.exact[0] += part
            if found & OPEN and not last:
                child = (*path, token)
                self.frontier[child] = part
                if child in walk.nodes:
                    children.append(child)
        return children

    @property
    def unresolved(self) -> float:
        """Probability that may still be right: frontier and unjudged rest."""
        return self.rest + sum(self.frontier.values())


class Walk:
    """One question behind one exemplar set: its judged nodes, its draws, and its probability mass.

    hits: [n_draws, 2] booleans (strict, rule); abstained, truncated: [n_draws]. `limit`: answer tokens at most, the
    stop included; a draw that never stops is truncated and wrong (counted on viable paths only).
    """

    def __init__(
        self, inquiry: Any, judge: Judge, words: tuple[int, int], slot: int, prefix: int, tokens: list[int],
        limit: int, n_draws: int, n_pairs: int,
    ):  # fmt: skip
        self.inquiry = inquiry  # the question it belongs to
        self.judge, self.words, self.slot, self.prefix, self.tokens = judge, words, slot, prefix, tokens
        self.limit, self._n_draws, self._n_pairs = limit, n_draws, n_pairs

    def clear(self) -> None:
        """Before draws `start`: nothing is judged, and none has begun."""
        self.nodes: dict[Path, Choice] = {}
        self.masses = [Mass(pair) for pair in range(self._n_pairs)]
        self.hits = np.zeros((self._n_draws, 2), bool)
        self.abstained = np.zeros(self._n_draws, bool)
        self.truncated = np.zeros(self._n_draws, bool)
        self.waiting: dict[Path, list[int]] = {}  # alive path -> its draws
        self.alive: Counter[bytes] = Counter()  # texts whose branch outlived the draft
        self.gold_logprob = 0.0

    @property
    def name(self) -> tuple[int, int, int]:
        """What its noise hangs on: the id's two words and the exemplar slot."""
        return (*self.words, self.slot)

    def start(self, draws: Sequence[int]) -> None:
        """Let draws begin at the end of the prompt; `advance` moves them."""
        self.waiting.setdefault((), []).extend(draws)

    def advance(self) -> None:
        """Move every draw and all mass as far as the judged nodes reach."""
        nodes = self.nodes
        for path in [path for path in self.waiting if path in nodes]:
            for number in self.waiting.pop(path):
                self._step(number, path)
        for mass in self.masses:
            mass.advance(self)

    def _step(self, number: int, path: Path) -> None:
        nodes = self.nodes
        while True:
            node = nodes[path]
            token = node.draws[number]
            path = (*path, token)
            if path in nodes:
                continue
            found = self.judge.verdicts(node.data)[token]
            if found & STOPPED:
                self.hits[number] = bool(found & STRICT), bool(found & HIT)
                self.abstained[number] = bool(found & ABSTAINED)
            elif found & ALIVE:
                if len(path) >= self.limit:
                    self.truncated[number] = True
                else:
                    if path not in self.waiting:
                        self.waiting[path] = []
                        self.alive[node.data + self.judge.vocabulary.token_bytes[token]] += 1
                    self.waiting[path].append(number)
            return

    def row(self, path: Path, continuation: Sequence[int], targets: Sequence[int] = ()) -> Row:
        """The row that judges `path` and the nodes of its drafted `continuation`, as far as the token limit allows."""
        return Row(self, path, tuple(continuation)[: self.limit - 1 - len(path)], targets)

    def data(self, path: Path) -> bytes:
        """Bytes of the answer text that `path` spells."""
        table = self.judge.vocabulary.token_bytes
        return b"".join([table[token] for token in path])
