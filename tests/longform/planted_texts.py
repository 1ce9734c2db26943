"""Tables of a small domain with planted truth and belief, in the columns of `slick_jax.longform.records`."""

import numpy as np
import pandas as pd


def words(text):
    """Tokens of the tests: words."""
    return len(text.split())


def count(texts):
    return [words(text) for text in texts]


class Domain:
    """Entities of all splits, a reference and `samples` generated texts each.

    truth: share of generated claims that are supported; belief: function of (supported, rng) -> belief.
    """

    def __init__(self, n=40, samples=1, truth=0.6, belief=None, name="plots", seed=0, claimless=0.1):
        rng = np.random.default_rng(seed)
        belief = belief or (lambda supported, rng: float(np.clip(0.35 + 0.3 * supported + rng.normal(0, 0.2), 0, 1)))
        splits = ["probe", "train", "train", "dev", "test"]
        self.entities = pd.DataFrame(
            {
                "id": [f"{name}.{i}" for i in range(n)], "domain": name, "name": [f"Film {name} {i}" for i in range(n)],
                "split": [splits[i % 5] for i in range(n)], "prompt": [f"Tell of film {name} {i}." for i in range(n)],
                "reference": [f"Reference {name} {i}." for i in range(n)], "exposure": [1 + i % 4 for i in range(n)],
            }
        )  # fmt: skip
        texts, sentences, claims, beliefs = [], [], [], []
        for entity in self.entities["id"]:
            for source, sample in [("gold", 0), *(("generated", k) for k in range(samples))]:
                text_id, told = f"{entity}/{source}/{sample}", []
                for place in range(int(rng.integers(5, 11))):
                    n_claims = 0 if rng.random() < claimless else int(rng.integers(1, 4))
                    filler = " ".join(["so"] * int(rng.integers(2, 9)))
                    told.append(f"{entity} s{place} {source} {filler} end.")
                    sentences.append((text_id, place, told[-1], n_claims > 0))
                    for number in range(n_claims):
                        supported = source == "gold" or rng.random() < truth
                        claim = f"{text_id}#{place}.{number}"
                        claims.append((claim, text_id, entity, place, f"{entity} fact {place} {number}", "r",
                                       f"{place}.{number}", supported, float(supported)))  # fmt: skip
                        beliefs.append((claim, "probe", 0.0, belief(supported, rng)))
                texts.append((text_id, entity, source, sample, " ".join(told), words(" ".join(told)), False))
        text_columns = ["id", "entity", "source", "sample", "text", "n_tokens", "truncated"]
        self.texts = pd.DataFrame(texts, columns=text_columns)
        self.sentences = pd.DataFrame(sentences, columns=["text_id", "sentence", "words", "parsed"])
        self.claims = pd.DataFrame(
            claims,
            columns=["id", "text_id", "entity", "sentence", "claim", "relation", "value", "supported", "support"],
        )
        self.beliefs = pd.DataFrame(beliefs, columns=["claim_id", "scorer", "raw", "belief"])

    @property
    def tables(self):
        return self.entities, self.texts, self.sentences, self.claims, self.beliefs

    def of(self, source):
        """The texts of a source."""
        return self.texts[self.texts["source"] == source]


def truthful(**settings):
    """A domain whose belief equals truth."""
    return Domain(belief=lambda supported, rng: float(supported), **settings)
