"""A scripted model and vocabulary for exactness tests: every context has logits of its own, drawn by a seed.

`ScriptedNetwork` stands in for `Network` inside the engine's programs. Its keys are the prefix's token ids and its
states the whole context, so that the script sees what the engine forwards, masks and gathers. It runs outside of jit.
"""

import hashlib
import re
from dataclasses import dataclass
from types import SimpleNamespace

import jax
import numpy as np

from slick_jax.models.transformer import KV, Hidden
from tests.knowledge.reference import official_match

ARTICLE = re.compile(r"\b(a |an |the )", re.IGNORECASE)
LONG = 25  # bytes; a text this long is spelled by its longest tokens only
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
    *(" I", " don", " don't", "'t", " know", "kno"),
    *(" Aa", " Bb", "bB", " Cc", " Dd", " Ee", " Ff", " Gg", " Hh", " Ii", " Oo"),
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
    ("United States", "United", "United Rings", "the U.S.A.", "United States"),
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
    ("Aa Bb Cc Dd Ee Ff Gg Hh Ii Oo",),
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


BY_BYTES = {}
for _token, _piece in enumerate(TOKEN_BYTES):
    if not STOPS[_token]:
        BY_BYTES.setdefault(_piece, []).append(_token)


@dataclass(frozen=True)
class Asked:
    """A scripted question: its id, its gold answers, and per slot (number of the shared prefix, the prompt's rest)."""

    identifier: str
    golds: tuple[str, ...]
    slots: tuple[tuple[int, tuple[int, ...]], ...]


def make_questions(n_questions, n_slots, prefixes):
    """Questions with tokens of their own, each behind `n_slots` of the prefixes, whose numbers are not the slots'."""
    asked = []
    for number in range(n_questions):
        rest = (BOS, 20 + number % 50, 20 + number // 50, *range(30, 30 + number % 5), MARK)
        slots = tuple(((slot + number + 1) % len(prefixes), rest) for slot in range(n_slots))
        asked.append(Asked(f"relation.test.{number}", GOLDS[number % len(GOLDS)], slots))
    return asked


def spellings(golds, rng, number=40):
    """Texts (bytes) that match a gold: changed case, added or dropped articles, punctuation, white space, phrases."""
    found = [f" {text}" for text in (*golds, *PHRASES)]
    while len(found) < number:
        gold = golds[rng.integers(len(golds))]
        gold = (gold, gold, gold.lower(), gold.upper(), ARTICLE.sub("", gold))[rng.integers(5)]
        first = ("", " ", " ", " the ", " The ", " a ", "An ", ". ", " The\u00a0")[rng.integers(9)]
        middle = (" ", " ", "  ", " the ", ". ", " 'a' ")[rng.integers(6)]
        last = ("", "", ".", "!", " ", " the", ",")[rng.integers(7)]
        text = first + gold.replace(" ", middle, 1) + last
        if any(official_match(text, each) for each in golds):
            found.append(text)
    return [text.encode() for text in found]


class Script:
    """Logits of every context by a seed, whatever the order and the batch it is asked in.

    On the way to a text that matches, a few of the tokens that lead there stand out: by far, level with others, or as
    zeros of both signs. Behind such a text stops stand out, and where nothing leads anywhere any stop does.
    """

    def __init__(self, asked, seed=0):
        self.seed, self._known = seed, {}
        rng = np.random.default_rng(seed)
        self._texts = {
            question.slots[0][1]: spellings(question.golds, rng, 2 if len(question.golds[0]) > LONG else 40)
            for question in asked
        }
        self.poisoned = None  # context whose logits are NaN

    def logits(self, context):
        """Float32 [N_TOKENS + PADDED_ROWS] for a tuple of token ids, prompt included."""
        found = self._known.get(context)
        if found is None:
            found = self._known[context] = self._make(context)
        return np.full_like(found, np.nan) if context == self.poisoned else found

    def _make(self, context):
        digest = hashlib.blake2b(repr((self.seed, context)).encode(), digest_size=8).digest()
        rng = np.random.default_rng(int.from_bytes(digest))
        logits = rng.normal(-1.0, 1.0, N_TOKENS)
        kind = rng.integers(6)
        chosen = self._leading(context, rng, many=kind == 0)
        if kind == 0 and len(chosen) > 1:  # more of the same value than are kept
            logits[chosen] = 4.0
            logits[rng.choice(N_TOKENS, 6)] = 4.0
        elif kind == 1:
            logits -= 3.0
            logits[chosen] = rng.choice([0.0, -0.0], len(chosen))
        else:
            logits[chosen] = rng.choice([3.0, 3.5, 4.0], len(chosen))
        logits = np.round(logits / QUANTUM) * QUANTUM
        return np.concatenate([logits, np.full(PADDED_ROWS, 9.0)]).astype(np.float32)

    def _leading(self, context, rng, many):
        """Ids of a few tokens (or many) that lead to a match from here."""
        end = len(context) - context[::-1].index(MARK) if MARK in context else 0
        start = end - 1 - context[:end][::-1].index(BOS) if end else 0
        answer = b"".join(TOKEN_BYTES[token] for token in context[end:])
        rests = {text[len(answer) :] for text in self._texts.get(context[start:end], ()) if text.startswith(answer)}
        tokens = {i for rest in rests for n in range(1, len(rest) + 1) for i in BY_BYTES.get(rest[:n], ())}
        if any(len(answer) + len(rest) > LONG for rest in rests):  # or it would never be spelled to its end
            tokens = {token for rest in rests for token in longest_match(rest)[:1]}
        tokens = sorted(tokens)
        if b"" in rests or not tokens:
            tokens += rng.choice(np.flatnonzero(STOPS), 4).tolist()
        return rng.choice(tokens, min(len(tokens), 8 if many else int(rng.integers(1, 4))), replace=False)


class ScriptedNetwork:
    """Duck type of `Network`: `hidden` and `logits` as the engine calls them, answered by a `Script`."""

    def __init__(self, script):
        self.script = script
        self.spec = SimpleNamespace(vocab_size=N_TOKENS + PADDED_ROWS, n_layers=1, n_kv_heads=1, head_dim=1)
        self.dtype = "int32"

    def hidden(
        self, params, tokens, prefix=None, *, keep_kv=False, forest=None, behind=None, pool=None, slots=None
    ):  # fmt: skip
        """States int32[G B T P+Q+T]: the ids of the prefix, of what is kept in the pool and of the tokens up to each
        position, else -1; Q is given once a pool is.

        Checks that the depths of a forest are those of its shape.
        """
        tokens, prefix, forest, behind, pool, slots = jax.tree.map(
            np.asarray, (tokens, prefix, forest, behind, pool, slots)
        )  # nothing here is worth compiling
        groups, rows, length = tokens.shape
        if behind is not None:
            prefix = KV(prefix.k[:, behind], prefix.v[:, behind], prefix.lengths[behind])
        seen = np.tril(np.ones((length, length), bool))
        if forest is not None:
            seen = seen & (np.arange(length)[:, None] < forest.end[:, :, None])
            before = 0 if pool is None else forest.last - forest.first
            assert (forest.depth == seen.sum(-1) - 1 + before).all()
        states = np.where(seen, tokens[:, :, None, :], -1)
        if pool is not None:
            asked = slots.reshape(pool.k.shape[1], -1)
            kept = np.stack([one[where] for one, where in zip(pool.k[0], asked, strict=True)])
            kept = kept.reshape(groups, 1, 1, -1)
            place = np.arange(slots.shape[1])
            kept = np.where((forest.first[..., None] <= place) & (place < forest.last[..., None]), kept, -1)
            states = np.concatenate([kept, states], axis=-1)
        if prefix is not None:
            past = prefix.k[0, :, :, 0, 0]
            past = np.where(np.arange(past.shape[1]) < prefix.lengths[:, None], past, -1)
            past = np.broadcast_to(past[:, None, None], (groups, rows, length, past.shape[-1]))
            states = np.concatenate([past, states], axis=-1)
        kv = KV(tokens[None, ..., None, None], tokens[None, ..., None, None], None) if keep_kv else None
        return Hidden(states, kv, None)

    def prefix(self, params, tokens, lengths):
        """Prefixes int32[G P] as keys and values."""
        kept = tokens[None, ..., None, None]
        return KV(kept, kept, lengths)

    def logits(self, params, states):
        """Float32 [*lead V], asked from the script; outside of jit, where states are known."""
        states = np.asarray(states)
        rows = states.reshape(-1, states.shape[-1])
        found = [self.script.logits(tuple(row[row >= 0].tolist())) for row in rows]
        return np.stack(found).reshape(*states.shape[:-1], -1)


@dataclass(frozen=True)
class Given:
    """A network whose states are the logits: those that the script gave outside of jit."""

    def logits(self, params, states):
        return states
