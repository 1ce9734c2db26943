"""What passes between the stages of the long-form study: entities, texts and claims, and their tables.

Every stage reads and writes tables of these rows (`store.py`), so that each can be looked at, and begun again, alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SPLITS = ("probe", "train", "dev", "test")  # of entities: no entity is in two of them
SOURCES = ("gold", "generated", "resampled", "answer")
# gold: reference texts; generated: the un-tuned model's own; resampled: more of them, for consistency alone; answer:
# what a fine-tuned model (or BASE) writes about entities of test.


@dataclass(frozen=True)
class Entity:
    """What texts are written about.

    Attributes:
      id: unique over all domains.
      prompt: what the model is asked, without any template around it.
      reference: the gold text, which also is what claims are verified against.
      facts: (relation, value) pairs of a structured domain; empty where the reference is all there is.
      exposure: how often a corpus told its facts, where that is known: how well the model may know the entity.
    """

    id: str
    domain: str
    name: str
    split: str
    prompt: str
    reference: str
    facts: tuple[tuple[str, str], ...] = ()
    exposure: int | None = None


@dataclass(frozen=True)
class Text:
    """A long text about an entity; `id` is `<entity>/<source>/<sample>`, with the arm and seed for answers.

    n_tokens: without the prompt; truncated: cut at the token limit.
    """

    id: str
    entity: str
    source: str
    sample: int
    text: str
    n_tokens: int
    truncated: bool = False


@dataclass(frozen=True)
class Claim:
    """One statement of a text, which can be true or false by itself; `id` is `<text id>#<sentence>.<number>`.

    Attributes:
      sentence: number of the sentence it was made from; a sentence may hold several claims, or none.
      claim: self-contained words: the entity is named.
      fact: (relation, value) where the sentence was parsed; None where claims are words only.
    """

    id: str
    text: str
    entity: str
    sentence: int
    claim: str
    fact: tuple[str, str] | None = None


ENTITIES = pa.schema(
    {
        "id": pa.string(),
        "domain": pa.string(),
        "name": pa.string(),
        "split": pa.string(),
        "prompt": pa.string(),
        "reference": pa.string(),
        "relations": pa.list_(pa.string()),  # of `facts`
        "values": pa.list_(pa.string()),
        "exposure": pa.int32(),
    }
)
TEXTS = pa.schema(
    {
        "id": pa.string(),
        "entity": pa.string(),
        "source": pa.string(),
        "sample": pa.int32(),
        "text": pa.string(),
        "n_tokens": pa.int32(),
        "truncated": pa.bool_(),
    }
)
SENTENCES = pa.schema(  # every sentence of every text, also those that no claim was made from
    {
        "text_id": pa.string(),
        "sentence": pa.int32(),
        "words": pa.string(),
        "parsed": pa.bool_(),  # by the grammar of a structured domain; null where there is none
    }
)
CLAIMS = pa.schema(
    {
        "id": pa.string(),
        "text_id": pa.string(),
        "entity": pa.string(),
        "sentence": pa.int32(),
        "claim": pa.string(),
        "relation": pa.string(),  # of `fact`; null where claims are words only
        "value": pa.string(),
        "supported": pa.bool_(),  # by the reference (verifier.py); null before that stage
        "support": pa.float64(),  # how likely supported, where the verifier says so; else 0 or 1
    }
)
BELIEFS = pa.schema(
    {
        "claim_id": pa.string(),
        "scorer": pa.string(),  # probe, p_true, consistency, logprob
        "raw": pa.float64(),  # the scorer's own score: higher is more believed
        "belief": pa.float64(),  # calibrated on dev: probability that the claim is true
    }
)
