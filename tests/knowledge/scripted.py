"""A scripted model and vocabulary for exactness tests: every context has logits of its own, drawn by a seed.

`ScriptedNetwork` stands in for `Network` inside the engine's programs. Its keys are the prefix's token ids and its
states the whole context, so that what the engine forwards, masks and gathers is seen by the script as it is.
"""

import hashlib
from dataclasses import dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from slick_jax.knowledge.match import Golds, matcher
from slick_jax.knowledge.walk import open_text
from slick_jax.models.transformer import KV, Hidden

VIABLE, OPEN_TEXT = Golds.viable, open_text  # as imported, whatever a test puts in their place later
PADDED_ROWS = 3  # of the vocabulary: ids that no tokenizer has, with the largest logits of all
QUANTUM = 0.25  # logits are multiples of it, so that ties are common

# Special tokens add no text; MARK ends every prompt.
BOS, EOS, SPECIAL, MARK = range(4)
STOP_TEXTS = ("\n", ".\n", " \n", "\n\n", "s\n", "!\n", "\nThe", "\n ")
WORDS = (
    *("Lord", " Lord", " lord", "Lo", "rd", " of", "of", " Rings", " rings", "Ring", " Ri", "ngs", " LOTR", "LO", "TR"),
    *("United", " United", "united", "Un", "ited", " U", "US", " USA", "A.", ".S.", " States", " states", "Stat", "es"),
    *("Ann", " Ann", "ann", " Th", " Thé", "Thé", " zmir", "zmir", "mir", " İz", "izmir", " iz"),
    *("New", " New", "new", "ton", "TON", " Newton", "other", " Another", "Hague", " Hague", "Hag", "ue", "ta", "ory"),
    *("Cat", " Cat", "cat", " ca", "Νο", " Νος", "ΝΟΣ", " ΝΟ", "νος", "Σα", "σα", "ΣΑ"),
    *(" I", " don", " don't", "'t", " know", "kno", " Aa", " Bb", "bB", " Cc", " Dd", " Ee", " Ff", " Gg", " Hh"),
)
ARTICLES = (" t", "he", " th", " the", " The", " THE", "the", "The", "th", "Th", " T", " a", " A", " an", " An", "an")
LETTERS = "abcdefghilmnorstuwyzABCDEFGHLNRSTUOİéςσΣνΝοΟΑα"
MARKS = (" ", "  ", "\u00a0", ".", ",", "!", "!!", " !", "-", "'", '"', "_", " (", ")", ". ", "\u0307", "😀", " 😀")
PIECES_OF_CHARACTERS = (
    *(b"\xc3", b"\xa9", b" \xc3", b"h\xc3", b"\xc4", b"\xb0", b" \xc4", b"\xb0z", b"\xcf", b"\x82", b"\x83", b"\xce"),
    *(b"\xa3", b"\xbd", b"\xbf\xcf", b"\xf0", b"\x9f", b"\x98", b"\x80", b"\xf0\x9f", b"\x98\x80", b" \xf0\x9f\x98"),
)
REPEATED = ("the", " the", "United", " ", "e", "\n")  # the same bytes once more under another id

TOKEN_BYTES = [b""] * 4 + [text.encode() for text in (*STOP_TEXTS, *WORDS, *ARTICLES, *LETTERS, *MARKS)]
TOKEN_BYTES += [*PIECES_OF_CHARACTERS, *(text.encode() for text in REPEATED)]
N_TOKENS = len(TOKEN_BYTES)
STOPS = [index < 4 or b"\n" in data for index, data in enumerate(TOKEN_BYTES)]
NEWLINE = TOKEN_BYTES.index(b"\n")

GOLDS = (
    ("The Lord of the Rings", "LOTR"),
    ("United States", "USA", "the U.S.A."),
    ("Ann Thé",),
    ("İzmir",),
    ("The The",),
    ("!!!", "Ha"),
    ("Νος",),
    ("ΝΟΣΑ", "Νοσα the"),
    ("Cat 😀", "😀"),
    ("Newton",),
    ("Theory", "A Theta"),
    ("Another Ann",),
    ("The Hague", "Hague, the"),
    ("Aa Bb Cc Dd Ee Ff Gg Hh",),
)
PHRASES = ("I don't know",)


def longest_match(data):
    """Ids that spell `data`, the longest first, ties to the lower id."""
    ids = []
    while data:
        fitting = [i for i, piece in enumerate(TOKEN_BYTES) if piece and not STOPS[i] and data.startswith(piece)]
        if not fitting:
            break
        ids.append(max(fitting, key=lambda i: (len(TOKEN_BYTES[i]), -i)))
        data = data[len(TOKEN_BYTES[ids[-1]]) :]
    return ids


@dataclass(frozen=True)
class Asked:
    """A scripted question: its id, its gold answers, and per slot (number of the shared prefix, the prompt's rest)."""

    identifier: str
    golds: tuple[str, ...]
    slots: tuple[tuple[int, tuple[int, ...]], ...]


def make_questions(n_questions, n_slots, prefixes):
    """Questions that differ by tokens of their own, each behind `n_slots` of the prefixes (not numbered as the slots)."""
    asked = []
    for number in range(n_questions):
        rest = (BOS, 20 + number % 50, 20 + number // 50, *range(30, 30 + number % 5), MARK)
        slots = tuple(((slot + number + 1) % len(prefixes), rest) for slot in range(n_slots))
        asked.append(Asked(f"relation.test.{number}", GOLDS[number % len(GOLDS)], slots))
    return asked


class Script:
    """Logits of every context by a seed. At nodes that may still match, a few viable tokens stand out.

    Remembered by context: `calls` in any order and any batch give the same logits.
    """

    def __init__(self, asked, seed=0):
        self.seed, self._known, self._nodes = seed, {}, {}
        self._golds = {question.slots[0][1]: Golds(question.golds, matcher("squad")) for question in asked}
        self._phrases = Golds(PHRASES, matcher("squad"))
        self.poisoned = None  # context tokens whose logits are NaN

    def logits(self, context):
        """Float32 [N_TOKENS + PADDED_ROWS] for a tuple of token ids, prompt included."""
        found = self._known.get(context)
        if found is None:
            found = self._known[context] = self._draw(context)
        return np.full_like(found, np.nan) if context == self.poisoned else found

    def _draw(self, context):
        digest = hashlib.blake2b(repr((self.seed, context)).encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(digest))
        logits = rng.normal(-0.7, 1.0, N_TOKENS)
        end = len(context) - context[::-1].index(MARK) if MARK in context else 0
        start = end - 1 - context[:end][::-1].index(BOS) if end else 0
        golds = self._golds.get(context[start:end])
        if golds is not None:
            answer = b"".join(TOKEN_BYTES[token] for token in context[end:])
            useful, open_, stops = self._options(golds, answer)
            pushed = [*self._some(rng, useful, 3), *self._some(rng, open_, 2), *self._some(rng, stops, 2)]
            if not pushed:  # nothing can match any more: end soon
                pushed = rng.choice(np.flatnonzero(STOPS), 3)
            logits[pushed] = rng.choice([3.5, 4.0, 4.5], len(pushed))
        logits = np.round(logits / QUANTUM) * QUANTUM  # leaves zeros of both signs
        return np.concatenate([logits, np.full(PADDED_ROWS, 9.0)]).astype(np.float32)

    @staticmethod
    def _some(rng, tokens, most):
        return rng.choice(tokens, min(len(tokens), rng.integers(0, most + 1)), replace=False) if len(tokens) else []

    def _options(self, golds, answer):
        """Token ids after `answer`: that bring it closer to a gold, that keep it viable, that end it as a match."""
        key = (golds, answer)
        if key not in self._nodes:
            useful, open_, stops = [], [], []
            for token, piece in enumerate(TOKEN_BYTES):
                if STOPS[token]:
                    text = (answer + piece).split(b"\n")[0].decode("utf-8", "replace")
                    if any(golds.match(text)) or any(self._phrases.match(text)):
                        stops.append(token)
                    continue
                text, pending = OPEN_TEXT(answer + piece)
                if VIABLE(golds, text) or VIABLE(self._phrases, text):
                    grows = pending or any(char.isalnum() for char in piece.decode("utf-8", "replace"))
                    (useful if grows else open_).append(token)
            self._nodes[key] = useful, open_, stops
        return self._nodes[key]


class ScriptedNetwork:
    """Duck type of `Network`: `hidden` and `logits` as the engine calls them, answered by a `Script`."""

    def __init__(self, script):
        self.script = script
        self.spec = SimpleNamespace(vocab_size=N_TOKENS + PADDED_ROWS)

    def hidden(self, params, tokens, prefix=None, *, keep_kv=False):
        """States int32[G B T P+T]: the ids of the prefix and of the tokens up to each position, else -1."""
        groups, rows, length = tokens.shape
        seen = jnp.tril(jnp.ones((length, length), bool))
        states = jnp.where(seen, tokens[:, :, None, :], -1)
        if prefix is not None:
            past = prefix.k[0, :, :, 0, 0]
            past = jnp.where(jnp.arange(past.shape[1]) < prefix.lengths[:, None], past, -1)
            past = jnp.broadcast_to(past[:, None, None], (groups, rows, length, past.shape[-1]))
            states = jnp.concatenate([past, states], axis=-1)
        kv = KV(tokens[None, ..., None, None], tokens[None, ..., None, None], None) if keep_kv else None
        return Hidden(states, kv, None)

    def logits(self, params, states):
        """Float32 [*lead V] by calling back into the script."""
        shape = jax.ShapeDtypeStruct((*states.shape[:-1], self.spec.vocab_size), jnp.float32)
        return jax.pure_callback(self._answer, shape, states)

    def _answer(self, states):
        states = np.asarray(states)
        rows = states.reshape(-1, states.shape[-1])
        found = [self.script.logits(tuple(row[row >= 0].tolist())) for row in rows]
        return np.stack(found).reshape(*states.shape[:-1], -1)
