"""Whether the reference supports a claim: by the fact table, by a checkpoint that reads passages, or a user's function.

A support is between 0 and 1, and a claim is supported from 0.5 on.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from slick_jax.data.examples import Example, raise_problems
from slick_jax.data.prompt_styles import Chat, Qa
from slick_jax.errors import InputError
from slick_jax.files.hashing import digest
from slick_jax.longform.bm25 import PASSAGE_WORDS, Bm25, passages_of, words
from slick_jax.longform.p_true import fork, odds
from slick_jax.longform.reading import Reader, Row
from slick_jax.longform.records import Claim, Entity
from slick_jax.longform.store import Stage, claim_row
from slick_jax.models.transformer import Network, Params
from slick_jax.progress import Progress
from slick_jax.settings import user_function
from slick_jax.settings.longform import ClaimsConfig

PASSAGES = ClaimsConfig.passages
QUERY = "the claim without the name"  # what passages are found by
PART = 1024  # claims that are judged between two writes
SETTING = "longform.claims.verifier"  # names a user's function
VERDICTS = "True", "False"
TASK = "Judge from the passages alone whether the statement is true."
SHOTS = (  # entity, passages, statement, verdict
    ("Lise Meitner", ("Lise Meitner was born in Vienna in 1878.", "She moved to Berlin in 1907."),
     "Lise Meitner was born in Vienna.", "True"),
    ("Lise Meitner", ("Lise Meitner was born in Vienna in 1878.", "She moved to Berlin in 1907."),
     "Lise Meitner moved to Rome.", "False"),
    ("Paracetamol", ("Paracetamol is taken against pain and fever. It is sold without prescription.",),
     "Paracetamol is an antibiotic.", "False"),
    ("Paracetamol", ("Paracetamol is taken against pain and fever. It is sold without prescription.",),
     "Paracetamol can be bought without prescription.", "True"),
)  # fmt: skip


class Verifier(Protocol):
    """Judges claims: float64 [claims], 0 to 1.

    settings: all that its judgement hangs on beside the claims and references; a checkpoint is for the caller to add.
    """

    settings: dict[str, Any]

    def prepare(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> None: ...

    def __call__(self, which: Sequence[int]) -> np.ndarray: ...


def labelled(
    claims: Sequence[Claim], entities: Mapping[str, Entity], verifier: Verifier, stage: Stage | None = None
) -> tuple[list[dict[str, Any]], Counter]:
    """Rows of records.CLAIMS with their labels, in the order of `claims`, and counts of claims and supported ones.

    entities: by id, of all claims. Equal claims about an entity are judged together. stage: where they are kept, part
    by part.
    """
    if stage is not None and stage.done():
        return stage.read()
    keys = [(claim.entity, claim.claim, claim.fact) for claim in claims]
    first: dict[tuple, int] = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    distinct = {key: number for number, key in enumerate(first)}
    verifier.prepare([claims[place] for place in first.values()], entities)

    def make(part: Sequence[int]) -> tuple[list[dict[str, Any]], Counter]:
        numbers = [distinct[keys[place]] for place in part]
        asked = list(dict.fromkeys(numbers))  # of this part alone, so that a resumed run asks in the same batches
        known = dict(zip(asked, verifier(asked).tolist(), strict=True))
        rows = [claim_row(claims[place], known[number]) for place, number in zip(part, numbers, strict=True)]
        return rows, Counter(claims=len(rows), supported=sum(row["supported"] for row in rows))

    progress = Progress("labels", len(claims), "claims", stage.finished(len(claims), PART) if stage else 0)
    if stage is not None:
        return stage.in_parts(range(len(claims)), PART, make, progress.show)
    rows, counts = [], Counter()
    for start in range(0, len(claims), PART):
        found, more = make(range(len(claims))[start : start + PART])
        rows += found
        counts.update(more)
        progress.show(len(rows))
    return rows, counts


class ByFacts:
    """Exact look-up: a claim that was parsed is supported if its entity has that fact."""

    settings: dict[str, Any] = {"verifier": "facts"}

    def prepare(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> None:
        raise_problems(
            [
                f"claim {claim.id}: {claim.claim!r} was not parsed into a fact, so that no fact table can judge it; use"
                " a verifier that reads the reference"
                for claim in claims
                if claim.fact is None
            ]
        )
        self._support = np.array([claim.fact in entities[claim.entity].facts for claim in claims], np.float64)

    def __call__(self, which: Sequence[int]) -> np.ndarray:
        return self._support[list(which)]


class Passages:
    """The passages of each entity's reference that bear most on a claim: by its words without those of the entity's
    name, which all passages are about."""

    def __init__(self, entities: Mapping[str, Entity], count: int = PASSAGES):
        self._entities, self._count = entities, count
        self._ranked: dict[str, Bm25] = {}

    def __call__(self, claim: Claim) -> list[str]:
        """At most `count` passages, the best first."""
        entity = self._entities[claim.entity]
        if claim.entity not in self._ranked:
            self._ranked[claim.entity] = Bm25(passages_of(entity.reference))
        named = set(words(entity.name))
        said = [word for word in words(claim.claim) if word not in named]
        return self._ranked[claim.entity].best(" ".join(said), self._count)


class ByModel:
    """A checkpoint reads the best passages of the reference and chooses between True and False."""

    def __init__(
        self, network: Network, params: Callable[[], Params], mesh: Any, style: Qa | Chat, *, passages: int = PASSAGES,
        batch_tokens: int = 0,
    ):  # fmt: skip
        """params: gives them when claims are judged; they are not held."""
        self.settings = {
            "verifier": "model", "passages": passages, "passage_words": PASSAGE_WORDS, "query": QUERY,
            "style": style.name, "form": digest([TASK, SHOTS, VERDICTS]),
        }  # fmt: skip
        self._reader = functools.partial(Reader, network, mesh=mesh, tokenizer=style.tokenizer, tokens=batch_tokens)
        self._params, self._style, self._count = params, style, passages
        self._most = network.spec.max_position_embeddings

    def prepare(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> None:
        passages, self._rows, pairs = Passages(entities, self._count), [], []
        for start in range(0, len(claims), PART):
            part = claims[start : start + PART]
            prompts = [
                prompt_of(self._style, entities[claim.entity].name, passages(claim), claim.claim) for claim in part
            ]
            for row, pair in self._tokenised(prompts):
                self._rows.append(row)
                pairs.append(pair)
        self._pairs = np.array(pairs, np.int32).reshape(-1, 2)
        problems = [
            f"claim {claim.id}: its prompt has {row.start} tokens, more than the model's {self._most} positions"
            for claim, row in zip(claims, self._rows, strict=True)
            if row.start > self._most
        ]
        remedy = "set longform.claims.passages lower, or name a verifier_model with more positions"
        raise_problems(problems, f"prompts are too long; {remedy}:")

    def _tokenised(self, prompts: Sequence[str]) -> Iterator[tuple[Row, tuple[int, int]]]:
        """Each prompt up to where the two verdicts part, and their tokens there."""
        style = self._style
        encoded = (style.encode([f"{prompt}{style.before}{verdict}" for prompt in prompts]) for verdict in VERDICTS)
        for true, false in zip(*encoded, strict=True):
            at = fork(true, false)
            if at is None:
                raise InputError(
                    f"{style.tokenizer.where}: of {VERDICTS[0]!r} and {VERDICTS[1]!r} it writes one as the other's"
                    " beginning, so that the model cannot choose between them; use another checkpoint"
                )
            yield Row(np.array(true[:at], np.int32), at), (true[at], false[at])

    def __call__(self, which: Sequence[int]) -> np.ndarray:
        found, rows = np.zeros(len(which)), [self._rows[number] for number in which]
        for numbers, result in self._reader(params=self._params()).read(odds, rows, *self._pairs[list(which)].T):
            found[numbers] = result
        return expit(found)


class ByFunction:
    """A user's `module:function(claim: str, passages: list[str]) -> float`, 0 to 1."""

    def __init__(self, name: str, *, passages: int = PASSAGES):
        """Raises InputError where there is no such function."""
        self._function, source = user_function.load(name, SETTING, "'facts', 'model'")
        self._name, self._count = f"{SETTING}={name!r}", passages
        self.settings = {
            "verifier": name, "source": source, "passages": passages, "passage_words": PASSAGE_WORDS, "query": QUERY,
        }  # fmt: skip

    def prepare(self, claims: Sequence[Claim], entities: Mapping[str, Entity]) -> None:
        self._claims, self._passages = list(claims), Passages(entities, self._count)

    def __call__(self, which: Sequence[int]) -> np.ndarray:
        return np.array([self._of(self._claims[number]) for number in which], np.float64)

    def _of(self, claim: Claim) -> float:
        asked = f"{self._name}: judging claim {claim.id} ({claim.claim!r})"
        try:
            support = float(self._function(claim.claim, self._passages(claim)))
        except Exception as error:  # the user's code may raise anything
            raise InputError(f"{asked} failed with {type(error).__name__}: {error}; it must judge any claim") from error
        if not (math.isfinite(support) and 0 <= support <= 1):
            raise InputError(f"{asked} returned {support}; return how likely the passages support it, 0 to 1")
        return support


def prompt_of(style: Qa | Chat, name: str, passages: Sequence[str], claim: str) -> str:
    """The whole prompt for a claim, up to its verdict, behind examples."""
    if isinstance(style, Chat):
        turns = [Example("", f"{TASK}\n{_form(*shot[:3])}", (shot[3],)) for shot in SHOTS]
        return style.few_shot(turns, f"{TASK}\n{_form(name, passages, claim)}")
    blocks = [f"{_form(*shot[:3])}{style.before}{shot[3]}{style.after}\n" for shot in SHOTS]
    return f"{TASK}\n\n{''.join(blocks)}{_form(name, passages, claim)}"


def _form(name: str, passages: Sequence[str], claim: str) -> str:
    told = "\n".join(passages)
    return f"Passages about {name}:\n{told}\nStatement: {' '.join(claim.split())}\nTrue or False? Answer:"
