"""Texts of a domain to sentences, claims and labels, in the way that the config names; each a table that is kept."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slick_jax.config import Config
from slick_jax.files.hashing import digest
from slick_jax.longform import claims as making
from slick_jax.longform import decompose, verifier
from slick_jax.longform.checkpoint import Checkpoint
from slick_jax.longform.domains import Domain
from slick_jax.longform.records import CLAIMS, SENTENCES, Claim, Entity, Text
from slick_jax.longform.store import Stage, claim_of, claim_row, entity_row


@dataclass(frozen=True)
class Judged:
    """Claims of some texts, in their order.

    sentences: rows of records.SENTENCES; labels: rows of records.CLAIMS with their labels, None where nothing was
    verified; counts: of `claims.Claims`, and `supported`; protocol: of what was made last.
    """

    sentences: list[dict[str, Any]]
    claims: list[Claim]
    labels: list[dict[str, Any]] | None
    counts: Counter
    protocol: str


class Judge:
    """Makes the tables `<place>/sentences`, `claims` and `labels` of a domain; what is there is read."""

    def __init__(
        self,
        config: Config,
        name: str,
        entities: Mapping[str, Entity],
        domain: Domain | None,
        claims_model: Checkpoint | None,
        verifier_model: Checkpoint | None,
    ):
        """Args:
        name: of the domain, whose entities by id are `entities`; domain: where it is a built-in one.
        claims_model, verifier_model: the second checkpoints that the config names.

        Raises InputError where the user's function cannot be imported.
        """
        self._config, self._name, self._entities, self._domain = config, name, entities, domain
        self._claims_model, self._verifier_model = claims_model, verifier_model
        self._verifier = self._make_verifier()

    def __call__(self, place: str, texts: Sequence[Text], upstream: str, *, verify: bool = True) -> Judged:
        """Args:
        place: folder of the tables within the domain's; upstream: protocol of `texts`.
        verify: whether claims are checked; else a second checkpoint is spared their wording, too.
        """
        settings = self._config.longform.claims
        method = self._config.longform.claim_method
        method = "sentence" if method == "model" and not verify else method
        abstentions = settings.abstentions or making.ABSTENTIONS
        made_by: dict[str, Any] = {
            "texts": upstream, "entities": self._about(texts), "method": method,
            "abstentions": digest(list(abstentions)),
        }  # fmt: skip
        if method == "model":
            made_by |= {"model": self._claims_model.protocol, "max_tokens": settings.max_tokens}
        sentences = self._stage(f"{place}/sentences", SENTENCES, made_by)
        claims = self._stage(f"{place}/claims", CLAIMS, made_by)
        if not (sentences.done() and claims.done()):
            found = making.claims_of(texts, self._entities, self._method(method, place), abstentions)
            sentences.write(found.sentences, found.counts)
            claims.write([claim_row(claim) for claim in found.claims], found.counts)
        rows, counts = claims.read()
        told = [claim_of(row) for row in rows]
        if not verify:
            return Judged(sentences.read()[0], told, None, counts, claims.protocol)
        judged_by = self._verifier.settings | {"claims": claims.protocol}
        if self._verifier_model is not None:
            judged_by |= {"model": self._verifier_model.protocol}
        stage = self._stage(f"{place}/labels", CLAIMS, judged_by)
        labels, more = verifier.labelled(told, self._entities, self._verifier, stage)
        counts["supported"] = more["supported"]
        return Judged(sentences.read()[0], told, labels, counts, stage.protocol)

    def _about(self, texts: Sequence[Text]) -> str:
        """Stands for the entities of these texts: claims, labels and all that is made of them hang on their splits,
        names, references and facts."""
        ids = dict.fromkeys(text.entity for text in texts)
        return digest([entity_row(self._entities[one]) | {"exposure": None} for one in ids])

    def _stage(self, name: str, schema: Any, settings: Mapping[str, Any]) -> Stage:
        return Stage(self._config.run_dir, self._name, name, schema, settings)

    def _method(self, method: str, place: str) -> making.Method:
        if method == "grammar":
            return making.ByGrammar(self._domain)
        if method == "sentence":
            return making.BySentence()
        model, settings = self._claims_model, self._config.longform.claims
        keep = functools.partial(self._decomposed, place)
        return decompose.ByModel(
            model.network, lambda: model.params, model.mesh, model.style, max_tokens=settings.max_tokens,
            rows=self._config.longform.write.rows, open_stage=keep,
        )  # fmt: skip

    def _decomposed(self, place: str, settings: dict[str, Any]) -> Stage:
        made_by = settings | {"model": self._claims_model.protocol}
        return self._stage(f"{place}/decomposed", decompose.OUTPUTS, made_by)

    def _make_verifier(self) -> verifier.Verifier:
        settings, name = self._config.longform.claims, self._config.longform.verifier
        if name == "facts":
            return verifier.ByFacts()
        if name != "model":
            return verifier.ByFunction(name, passages=settings.passages)
        model = self._verifier_model
        return verifier.ByModel(
            model.network, lambda: model.params, model.mesh, model.style, passages=settings.passages,
            batch_tokens=self._config.annotate.batch_tokens,
        )  # fmt: skip
