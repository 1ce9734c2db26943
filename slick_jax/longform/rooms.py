"""A domain of the study: its texts, claims, beliefs and arms, each made when it is first asked for and kept."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from slick_jax.config import Config
from slick_jax.errors import InputError
from slick_jax.files.hashing import digest
from slick_jax.longform import arm_files, arms, generate, lengths, prompts, splits
from slick_jax.longform.checkpoint import Checkpoint
from slick_jax.longform.judge import Judge, Judged
from slick_jax.longform.records import ENTITIES, TEXTS, Entity, Text
from slick_jax.longform.room_beliefs import RoomBeliefs
from slick_jax.longform.store import ROOM, Stage, entity_row, text_of, text_row
from slick_jax.longform.writer import Sampling
from slick_jax.models.transformer import Network

OWN = {  # splits whose entities have texts of a source
    "gold": ("train", "test"),  # trained on, and belief measured on
    "generated": ("probe", "train", "dev", "test"),
    "resampled": ("train", "dev", "test"),
}


class Room:
    """One domain, whose tables are in `<run_dir>/longform/<name>/`; every step makes the steps before it.

    entities: all of them; judge: makes claims; model: opens the model under study.
    """

    def __init__(
        self, config: Config, name: str, entities: Sequence[Entity], judge: Judge, model: Callable[[], Checkpoint]
    ):
        self.config, self.name, self.judge, self._model = config, name, judge, model
        self.folder = epath.Path(config.run_dir) / ROOM / name
        self.entities = list(entities)
        self.by_id = {entity.id: entity for entity in entities}
        self._beliefs = RoomBeliefs(self, model)
        self._generators: dict[tuple, generate.Generator] = {}  # the models of a study share their programs

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The entities, columns of records.ENTITIES. Raises InputError where one is in two splits."""
        rows = [entity_row(entity) for entity in self.entities]
        stage = self.stage("entities", ENTITIES, {"entities": digest(rows)})
        if not stage.done():
            stage.write(rows, splits.check_disjoint(pd.DataFrame(rows)))
            self.say(", ".join(f"{n} {split}" for split, n in Counter(one.split for one in self.entities).items()))
        return pd.DataFrame(rows)

    @functools.cached_property
    def exemplars(self) -> list[Entity]:
        """Whose references the un-tuned model sees; nothing else is made of them."""
        write = self.config.longform.write
        return prompts.choose_exemplars(self.entities, write.exemplars, write.exemplar_seed)

    def of_splits(self, names: Sequence[str]) -> list[Entity]:
        """The entities of these splits, without the exemplars."""
        shown = {entity.id for entity in self.exemplars}
        return [entity for entity in self.entities if entity.split in names and entity.id not in shown]

    def asked(self, names: Sequence[str]) -> dict[str, str]:
        """The un-tuned model's prompts about the entities of these splits."""
        write, style = self.config.longform.write, self._model().style
        return prompts.few_shot_prompts(self.of_splits(names), self.exemplars, style, write.stop)

    def sampling(self, **changed: Any) -> Sampling:
        """How texts are decoded, one sample where nothing else is said."""
        write = self.config.longform.write
        shared = {name: getattr(write, name) for name in ("temperature", "top_k", "max_tokens", "seed", "stop", "rows")}
        return Sampling(**shared | changed)

    @functools.cache  # noqa: B019  (rooms live as long as the command)
    def texts(self, source: str) -> tuple[list[Text], str]:
        """The texts of a source, and the protocol of their table."""
        longform, model = self.config.longform, self._model()
        if source == "gold":
            about = self.of_splits(OWN[source])
            settings = {"references": digest([[one.id, one.reference] for one in about])}
            stage = self.stage("gold/texts", TEXTS, settings | {"tokenizer": model.tokenizer.fingerprint()})
            if not stage.done():
                made = generate.gold_texts(about, model.tokenizer)
                stage.write([text_row(text) for text in made], generate.counts_of(made))
            found = [text_of(row) for row in stage.read()[0]]
            self._check_references(found)
            return found, stage.protocol
        number = longform.samples if source == "generated" else longform.resamples
        sampling, asked = self.sampling(samples=number), self.asked(OWN[source])
        return self.written(f"{source}/texts", asked, sampling, source, model.protocol, lambda: model.params)

    def _check_references(self, texts: Sequence[Text]) -> None:
        """Raises InputError, before anything is generated, where training cannot hold a reference."""
        if any(name.startswith("GOLD") for name in self.config.longform.arms):
            sizes = pd.Series({text.id: text.n_tokens for text in texts if self.by_id[text.entity].split == "train"})
            lengths.check_targets(sizes, self.config.train.max_target_tokens, f"{self.name}: references")

    def written(
        self, place: str, asked: Mapping[str, str], sampling: Sampling, source: str, written_by: Any,
        params: Callable[[], Any], *, network: Network | None = None, label: str = "",
    ) -> tuple[list[Text], str]:  # fmt: skip
        """Texts behind these prompts, as table `place`, and its protocol; `params` is called where one is missing."""
        model = self._model()
        settings = generate.protocol_of(
            asked, sampling, model.tokenizer, source=source, label=label, model=written_by
        )
        stage = self.stage(place, TEXTS, settings)
        if not stage.done():
            network = network or model.network
            key = (network, source, sampling, tuple(asked.items()))
            if key not in self._generators:
                self._generators[key] = generate.Generator(
                    network, model.mesh, model.tokenizer, asked, sampling, source=source, encode=model.style.encode
                )
            self._generators[key](params(), label=label, stage=stage)
            counts = stage.read()[1]
            note = f", {counts['truncated']:,} cut at the token limit, {counts['empty']:,} empty"
            self.say(f"{place.removesuffix('/texts')}: {counts['texts']:,} texts{note}")
        return [text_of(row) for row in stage.read()[0]], stage.protocol

    @functools.cache  # noqa: B019
    def judged(self, source: str) -> Judged:
        """The claims of a source. Raises InputError where the model's own texts of a split make none at all."""
        texts, protocol = self.texts(source)
        found = self.judge(source, texts, protocol, verify=source != "resampled")
        if source != "generated":
            return found
        told = {self.by_id[claim.entity].split for claim in found.claims}
        silent = [split for split in OWN[source] if split not in told]
        if silent:
            counts = found.counts
            raise InputError(
                f"{self.name}: no claim was found in what the model wrote about split {', '.join(silent)} (of all"
                f" splits, {counts['texts']:,} texts: {counts['empty']:,} empty, {counts['abstained']:,} abstained; and"
                f" {counts['sentences']:,} sentences: {counts['cut']:,} unfinished at the token limit,"
                f" {counts['unparsed']:,} not parsed); look at {self.folder / 'generated' / 'texts.parquet'}: a model"
                " that does not write such texts needs more examples (longform.write.exemplars), more tokens"
                " (longform.write.max_tokens), or another longform.claims.method"
            )
        return found

    def believed(self, source: str) -> tuple[pd.DataFrame, str]:
        """The beliefs of a source (gold or generated), columns of records.BELIEFS, and the protocol of their table."""
        return self._beliefs.of(source)

    def arms(self) -> dict[str, Any]:
        """Writes arms/<arm>.jsonl; returns their manifest."""
        longform, model, folder = self.config.longform, self._model(), self.folder / "arms"
        sources = ("gold", "generated")
        made_of = {source: [self.judged(source).protocol, self.believed(source)[1]] for source in sources}
        made_by = {
            "claims": longform.claim_method, "verifier": longform.verifier, "model": model.protocol,
            "tables": made_of, "wanted": digest([dataclasses.asdict(longform.filter), longform.arms]),
        }  # fmt: skip
        manifest = arm_files.read(folder, made_by)
        if manifest is not None:
            return manifest
        built = arms.build(
            self.table,
            pd.DataFrame([text_row(text) for source in sources for text in self.texts(source)[0]]),
            pd.DataFrame([row for source in sources for row in self.judged(source).sentences]),
            pd.DataFrame([row for source in sources for row in self.judged(source).labels]),
            pd.concat([self.believed(source)[0] for source in sources]),
            arms=longform.arms, filter=longform.filter,
            count_tokens=lambda texts: [len(one) for one in model.tokenizer.encode_batch(list(texts), framed=False)],
        )  # fmt: skip
        for name, rows in built.texts.items():
            sizes = rows.set_index("text_id")["n_tokens"]
            lengths.check_targets(sizes, self.config.train.max_target_tokens, f"{self.name}: arm {name}")
        manifest = arm_files.write(folder, built, self.table, longform.filter, made_by=made_by)
        self.say(f"arms: {manifest['prompts']:,} prompts in each, {manifest['prompts_left_out']:,} left out")
        return manifest

    def stage(self, name: str, schema: Any, settings: Mapping[str, Any]) -> Stage:
        """A table of this domain."""
        return Stage(self.config.run_dir, self.name, name, schema, settings)

    def say(self, what: str) -> None:
        """A line for people, when something was made."""
        print(f"longform: {self.name}: {what}", flush=True)
