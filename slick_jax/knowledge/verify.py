"""Gold-drafted verification: every draw of the reference process, decided from a forward pass over the gold answer.

The gold answer is drafted behind the question, the device returns the token each draw takes at every drafted position,
and draws that leave the draft but may still match are followed in further rounds. Hits equal those of decoding every
draw token by token (docs/exactness.md).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from slick_jax.knowledge.batches import Batch, Judged, pack
from slick_jax.knowledge.forward import Device, Readout
from slick_jax.knowledge.match import Golds
from slick_jax.knowledge.shapes import Shapes
from slick_jax.knowledge.walk import Choice, Judge, Path, Row, Vocabulary, Walk, open_text
from slick_jax.models.transformer import KV


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is measured: draws per exemplar set, their decoding, and how closely the exact P_Correct is expanded.

    pairs: (temperature, top k) of every exact P_Correct, the run's first; empty where none is asked for.
    max_expansions: paths a question's exact P_Correct may ask for beyond the draft; what they leave is `unresolved`.
    lazy_samples: draw samples only for questions that no greedy draw answers (mode `labels`).
    """

    n_samples: int = 16
    max_answer_tokens: int = 32
    pairs: tuple[tuple[float, int], ...] = ((0.5, 40),)
    tolerance: float = 1e-3
    max_expansions: int = 1000
    lazy_samples: bool = False


@dataclasses.dataclass(frozen=True)
class Question:
    """One example, ready to be verified.

    words: of its id; slots: per exemplar slot (bank index of the prefix, the question's own tokens);
    drafts: token paths judged in the first round, with their stop; the first is the gold answer.
    """

    words: tuple[int, int]
    slots: Sequence[tuple[int, Sequence[int]]]
    golds: Golds
    abstentions: Golds | None
    drafts: Sequence[tuple[tuple[int, ...], int]]


@dataclasses.dataclass
class Verified:
    """Results of one question. J exemplar slots, S samples, R exact pairs; rule axes are (strict, rule).

    hits bool[J 1+S 2]; abstained, truncated bool[J 1+S]; sampled: whether samples were drawn; exact float64[R J 2] and
    unresolved float64[R J]: P_Correct of each set as a lower bound, and the probability left undecided;
    gold_logprob float64[J]: log-probability of the first gold answer and its stop at T = 1.
    """

    hits: np.ndarray
    abstained: np.ndarray
    truncated: np.ndarray
    sampled: bool
    exact: np.ndarray
    unresolved: np.ndarray
    gold_logprob: np.ndarray


class _Inquiry:
    """A question on its way: the walks of its exemplar slots and which of its draws have begun."""

    def __init__(self, question: Question, protocol: Protocol, vocabulary: Vocabulary):
        self.question, self.protocol = question, protocol
        self.judge = Judge(vocabulary, question.golds, question.abstentions)
        self.walks = [
            Walk(
                self, self.judge, question.words, slot, prefix, list(tokens), protocol.max_answer_tokens,
                1 + protocol.n_samples, len(protocol.pairs),
            )
            for slot, (prefix, tokens) in enumerate(question.slots)
        ]  # fmt: skip

    def begin(self) -> None:
        """Let the draws stand before their first token; what an earlier verification found is forgotten."""
        self.expansions = 0
        self.samples_begun = not self.protocol.lazy_samples
        self.sampled = self.protocol.n_samples > 0
        for walk in self.walks:
            walk.clear()
            walk.start(range(1 + self.protocol.n_samples) if self.samples_begun else [0])

    def first_rows(self) -> list[Row]:
        """The drafted answers of every walk; the log-probability of the first one is asked for."""
        return [
            walk.row((), tokens, () if number else (*tokens, stop))
            for walk in self.walks
            for number, (tokens, stop) in enumerate(self.question.drafts)
        ]

    def advance(self) -> None:
        """Move draws and mass on; with lazy samples, begin them once every greedy draw has missed."""
        for walk in self.walks:
            walk.advance()
        if not self.samples_begun and not any(walk.waiting for walk in self.walks):
            self.samples_begun = True
            self.sampled = not any(walk.hits[0].all() for walk in self.walks)
            if self.sampled:
                for walk in self.walks:
                    walk.start(range(1, 1 + self.protocol.n_samples))
                    walk.advance()

    def rows(self, longest_match: Callable[[bytes], list[int]]) -> list[Row]:
        """Rows of the next round: alive branches, and the heaviest paths until the rest falls below the tolerance."""
        wanted: dict[tuple[int, Path], None] = {
            (slot, path): None for slot, walk in enumerate(self.walks) for path in walk.waiting
        }
        for index in range(len(self.protocol.pairs)):
            left = sum(walk.masses[index].unresolved for walk in self.walks)
            frontier = [
                (-mass, slot, path)  # the largest first
                for slot, walk in enumerate(self.walks)
                for path, mass in walk.masses[index].frontier.items()
            ]
            for negative, slot, path in sorted(frontier):
                if left < self.protocol.tolerance or self.expansions == self.protocol.max_expansions:
                    break
                self.expansions += 1
                wanted[slot, path] = None
                left += negative
        return [
            self.walks[slot].row(path, draft)
            for slot, path in wanted
            for draft in self._drafts(self.walks[slot], path, longest_match)
        ]

    def _drafts(self, walk: Walk, path: Path, longest_match: Callable[[bytes], list[int]]) -> Iterator[Sequence[int]]:
        """How an alive path would most likely go on: to a gold. One of marks alone ("____") may as well repeat itself;
        and where no gold stood a chance at the start, it hardly does behind a mark."""
        data = walk.data(path)
        completion = self.judge.completion(data)
        if any(map(str.isalnum, open_text(data)[0])):
            yield longest_match(completion)
            return
        first = walk.nodes[()].ids if path else ()
        likely = not path or any(tokens and tokens[0] in first for tokens, _ in self.question.drafts)
        yield longest_match(completion) if likely else ()
        if len(path) > 1:
            yield path

    def result(self) -> Verified:
        """What was measured, once nothing is waiting."""
        masses = [[walk.masses[index] for walk in self.walks] for index in range(len(self.protocol.pairs))]
        return Verified(
            hits=np.stack([walk.hits for walk in self.walks]),
            abstained=np.stack([walk.abstained for walk in self.walks]),
            truncated=np.stack([walk.truncated for walk in self.walks]),
            sampled=self.sampled,
            exact=np.array([[mass.exact for mass in row] for row in masses]).reshape(-1, len(self.walks), 2),
            unresolved=np.array([[mass.unresolved for mass in row] for row in masses]).reshape(-1, len(self.walks)),
            gold_logprob=np.array([walk.gold_logprob for walk in self.walks]),
        )


class Verification:
    """Questions verified together, round by round: `begin`, `advance` until it says that nothing is on its way, then
    `result`; and so again with the parameters that the device has then, whose first round is packed already.

    Several may be on their way at once: the device works on one while the host moves the draws of another.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        protocol: Protocol,
        device: Device,
        vocabulary: Vocabulary,
        longest_match: Callable[[bytes], list[int]],
        shapes: Shapes,
    ):
        """Packs the first round.

        Args:
          longest_match: bytes -> token ids that spell them (`Tokenizer.longest_match`), for drafts of later rounds.
          shapes: of the device batches.
        """
        self._protocol, self._device, self._shapes = protocol, device, shapes
        self._longest_match = longest_match
        self._everyone = [_Inquiry(question, protocol, vocabulary) for question in questions]
        rows = [row for inquiry in self._everyone for row in inquiry.first_rows()]
        self._first = len(rows), pack(rows, shapes)

    def begin(self, bank: KV) -> None:
        """Dispatches the first round. `bank`: keys and values of the prefixes that the questions' slots name
        (`Device.bank`)."""
        self._bank, self._lease = bank, self._device.pools and self._device.pools.take()
        self._counts = Counter(questions=len(self._everyone))
        for inquiry in self._everyone:
            inquiry.begin()
        self._dispatch(*self._first)

    def _dispatch(self, n_rows: int, batches: Sequence[Batch]) -> None:
        self._started = [(batch, self._device.dispatch(self._bank, batch, self._lease)) for batch in batches]
        if n_rows:
            self._counts["rounds"] += 1
        self._counts["rows"] += n_rows
        for batch in batches:
            self._counts["tokens_forwarded"] += batch.real
            self._counts["tokens_seen"] += batch.seen
            self._counts["tokens_computed"] += batch.lanes.tokens.size
            self._counts["positions_judged"] += sum(len(judged.nodes) for judged in batch.judged)
            self._counts["positions_computed"] += sum(judged.where.size for judged in batch.judged)

    def advance(self) -> bool:
        """Take in the round that is on its way and dispatch the next. False: there was none.

        A question moves on as soon as all of its own has come back. Raises InputError when a logit is NaN.
        """
        if not self._started:
            return False
        missing = Counter(
            id(walk.inquiry) for batch, _ in self._started for judged in batch.judged for *_, walk, _ in judged.nodes
        )
        rows: list[Row] = []
        for batch, readouts in self._started:
            for judged, readout in zip(batch.judged, readouts, strict=True):
                _absorb(judged, self._device.fetch(readout), self._protocol.pairs)
                back: dict[int, _Inquiry] = {}
                for *_, walk, _ in judged.nodes:
                    missing[id(walk.inquiry)] -= 1
                    back[id(walk.inquiry)] = walk.inquiry
                for key, inquiry in back.items():
                    if not missing[key]:
                        inquiry.advance()
                        rows.extend(inquiry.rows(self._longest_match))
        self._dispatch(len(rows), pack(rows, self._shapes, self._lease and self._lease.find))
        return True

    def result(self) -> tuple[list[Verified], Counter]:
        """A `Verified` per question, and counters: rounds, rows, tokens_forwarded, tokens_computed (padding included),
        positions_judged and positions_computed, alive_branches, one `alive: <cause>` per cause, truncated.

        To be called once for every `begin`.
        """
        counts = self._counts
        if self._lease:
            self._device.pools.give_back(self._lease)
            self._lease = None
        for inquiry in self._everyone:
            for walk in inquiry.walks:
                counts["truncated"] += int(walk.truncated.sum())
                for data, number in walk.alive.items():
                    counts["alive_branches"] += number
                    counts[f"alive: {cause(open_text(data)[0], inquiry.question.golds)}"] += number
                walk.nodes.clear()  # most of what a question takes of memory, until it begins again
        return [inquiry.result() for inquiry in self._everyone], counts


def complete(verifications: Sequence[Verification]) -> None:
    """Advance them, side by side, until nothing of any is on its way."""
    while verifications:
        verifications = [one for one in verifications if one.advance()]


def _absorb(judged: Judged, readout: Readout, pairs: Sequence[tuple[float, int]]) -> None:
    """Turn judged positions into nodes of their walks."""
    draws, ids = readout.draws.tolist(), readout.ids.tolist()
    shares = [_softmax(readout.values[..., :top_k], temperature) for temperature, top_k in pairs]
    for shard, place, walk, node in judged.nodes:
        walk.nodes[node.path] = Choice(
            walk.data(node.path), draws[shard][place], ids[shard][place], [share[shard, place] for share in shares]
        )
        if node.target is not None:
            walk.gold_logprob += float(readout.gold[shard, place])


def _softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of the kept tokens, falling, in float64."""
    scaled = values.astype(np.float64) / temperature
    share = np.exp(scaled - scaled[..., :1])
    return share / share.sum(axis=-1, keepdims=True)


def cause(text: str, golds: Golds) -> str:
    """Why a branch with this text outlived the draft, for the counters."""
    begun = text.strip()
    if not begun:
        return "white space"
    if not golds.viable(text):
        return "abstention"
    if any(gold.startswith(begun) for gold in golds.golds):
        return "other tokenisation"
    if any(gold.lower().startswith(begun.lower()) for gold in golds.golds):
        return "case"
    if begun.lower().split()[0] in ("a", "an", "t", "th", "the"):
        return "article"
    return "punctuation or spacing"
