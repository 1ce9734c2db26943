"""Gold-drafted verification: every draw of the reference process, decided from a forward pass over the gold answer.

The gold answer is drafted behind the question, the device returns the token each draw takes at every drafted position,
and draws that leave the draft but may still match are followed in further rounds. Hits equal those of decoding every
draw token by token (docs/exactness.md).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from slick_jax.knowledge.batches import Batch, Shapes, pack
from slick_jax.knowledge.forward import Device, Judged
from slick_jax.knowledge.match import Golds
from slick_jax.knowledge.walk import Judge, Mass, Node, Path, Row, Vocabulary, Walk, open_text


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
                self.judge, question.words, slot, prefix, list(tokens), protocol.max_answer_tokens,
                1 + protocol.n_samples, [Mass(index) for index in range(len(protocol.pairs))],
            )
            for slot, (prefix, tokens) in enumerate(question.slots)
        ]  # fmt: skip
        self.expansions = 0
        self.samples_begun = not protocol.lazy_samples
        self.sampled = protocol.n_samples > 0
        for walk in self.walks:
            walk.start(range(1 + protocol.n_samples) if self.samples_begun else [0])

    def first_rows(self) -> list[Row]:
        """The drafted answers of every walk; nodes that several drafts share are judged once."""
        rows = []
        for walk in self.walks:
            seen: set[Path] = set()
            for number, (tokens, stop) in enumerate(self.question.drafts):
                nodes = [tokens[:length] for length in range(len(tokens) + 1)]
                owned = sum(node in seen for node in nodes)
                if owned < len(nodes):
                    rows.append(walk.row((), tokens, () if number else (*tokens, stop), owned))
                seen.update(nodes)
        return rows

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
                (-mass, slot, path)
                for slot, walk in enumerate(self.walks)
                for path, mass in walk.masses[index].frontier.items()
            ]
            for mass, slot, path in sorted(frontier):
                if left < self.protocol.tolerance or self.expansions == self.protocol.max_expansions:
                    break
                self.expansions += 1
                wanted[slot, path] = None
                left += mass
        rows = []
        for slot, path in wanted:
            walk = self.walks[slot]
            rows.append(walk.row(path, longest_match(self.judge.completion(walk.data(path)))))
        return rows

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


def verify(
    questions: Sequence[Question],
    protocol: Protocol,
    device: Device,
    vocabulary: Vocabulary,
    longest_match: Callable[[bytes], list[int]],
    shapes: Shapes,
) -> tuple[list[Verified], Counter]:
    """Verify `questions` together, round by round.

    Args:
      longest_match: bytes -> token ids that spell them (`Tokenizer.longest_match`), for drafts of later rounds.
      shapes: of the device batches.

    Returns:
      a `Verified` per question, and counters: rounds (the largest of any call), rows, tokens_forwarded,
      tokens_computed (padding included), alive_branches, one `alive: <cause>` per cause, truncated.

    Raises InputError when a logit is NaN.
    """
    open_questions = [_Inquiry(question, protocol, vocabulary) for question in questions]
    everyone, counts = list(open_questions), Counter(questions=len(questions))
    rows = [row for inquiry in open_questions for row in inquiry.first_rows()]
    while rows:
        counts["rounds"] += 1
        batches = pack(rows, shapes)
        started = [(batch, device.judge(batch)) for batch in batches]
        for batch, judged in started:
            _absorb(batch, device.fetch(judged), protocol.pairs)
            counts["tokens_computed"] += batch.tokens.size
            counts["positions_computed"] += batch.where.size
        counts["rows"] += len(rows)
        counts["positions_judged"] += sum(row.judged for row in rows)
        counts["tokens_forwarded"] += sum(len(row.tokens) for row in rows)
        waiting, rows = [], []
        for inquiry in open_questions:
            inquiry.advance()
            new = inquiry.rows(longest_match)
            if new:
                waiting.append(inquiry)
                rows.extend(new)
        open_questions = waiting
    for inquiry in everyone:
        for walk in inquiry.walks:
            counts["truncated"] += int(walk.truncated.sum())
            for data, number in walk.alive.items():
                counts["alive_branches"] += number
                counts[f"alive: {cause(open_text(data)[0], inquiry.question.golds)}"] += number
    return [inquiry.result() for inquiry in everyone], counts


def _absorb(batch: Batch, judged: Judged, pairs: Sequence[tuple[float, int]]) -> None:
    """Turn the judged positions of a batch into nodes of its walks."""
    draws, ids = judged.draws.tolist(), judged.ids.tolist()
    shares = [_softmax(judged.values[..., :top_k], temperature) for temperature, top_k in pairs]
    for shard, offset, row in batch.rows:
        walk, path = row.walk, row.path
        continuation = row.tokens[len(row.tokens) - row.judged + 1 :]
        data, table = walk.data(path), walk.judge.vocabulary.token_bytes
        for step in range(row.judged):
            if step:
                token = continuation[step - 1]
                path, data = (*path, token), data + table[token]
            place = offset + step
            walk.nodes[path] = Node(
                data, draws[shard][place], ids[shard][place], [share[shard, place] for share in shares]
            )
        if row.targets:
            walk.gold_logprob = float(judged.gold[shard, offset : offset + row.judged].sum(dtype=np.float64))


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
