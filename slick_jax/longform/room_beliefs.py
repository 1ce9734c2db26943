"""A room's belief in its claims: the probe, raw scores, and what calibration makes of them, each of which is kept."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from slick_jax.errors import InputError
from slick_jax.files import run_folder
from slick_jax.files.hashing import digest
from slick_jax.longform.belief import OwnReading, Scorer, beliefs, calibrate, raw_scores, train_probe
from slick_jax.longform.checkpoint import Checkpoint
from slick_jax.longform.consistency import Consistency
from slick_jax.longform.p_true import PTrue, examples_of
from slick_jax.longform.probe import Probe
from slick_jax.longform.reading import Reader
from slick_jax.longform.records import BELIEFS, Claim
from slick_jax.longform.store import Stage

if TYPE_CHECKING:
    from slick_jax.longform.rooms import Room

PART = 4096  # claims that are scored between two writes
RAW = BELIEFS.remove(BELIEFS.get_field_index("belief"))


class RoomBeliefs:
    """What the model believes of the claims of a domain."""

    def __init__(self, room: Room, model: Callable[[], Checkpoint]):
        self._room, self._model = room, model

    def of(self, source: str) -> tuple[pd.DataFrame, str]:
        """The beliefs of a source (gold or generated), calibrated on the model's own texts about dev."""
        room = self._room
        method = room.config.longform.calibration
        own, raw = self._raw("generated"), self._raw(source)
        stage = room.stage(f"{source}/beliefs", BELIEFS, {"raw": [own.protocol, raw.protocol], "method": method})
        if not stage.done():
            dev, labels = self._told("generated", ("dev",))
            texts = {text.id: text for text in room.texts("generated")[0]}
            fitted = calibrate(_scores(own, dev), dev, labels, room.by_id, texts, method)
            made = {name: one.to_json() for name, one in fitted.items()}
            run_folder.write_json(room.folder / "calibration.json", made)
            claims, _ = self._told(source, ("train", "dev", "test"))
            stage.write(beliefs(claims, _scores(raw, claims), fitted).to_pylist(), {"claims": len(claims)})
            flat = [name for name, one in fitted.items() if not one.informative]
            note = f"; no better than chance on dev: {', '.join(flat)}" if flat else ""
            room.say(f"{source}: belief in {len(claims):,} claims{note}")
        return pd.DataFrame(stage.read()[0], columns=BELIEFS.names), stage.protocol

    def _told(self, source: str, names: Sequence[str]) -> tuple[list[Claim], list[bool]]:
        """Claims of a source about entities of these splits, with their labels."""
        room = self._room
        found = room.judged(source)
        pairs = [
            (claim, bool(row["supported"]))
            for claim, row in zip(found.claims, found.labels, strict=True)
            if room.by_id[claim.entity].split in names
        ]
        return [claim for claim, _ in pairs], [label for _, label in pairs]

    def _reader(self) -> Reader:
        """Not kept: it holds the weights."""
        model = self._model()
        tokens = self._room.config.annotate.batch_tokens
        return Reader(model.network, model.params, model.mesh, model.tokenizer, tokens)

    def probe(self) -> tuple[Probe, dict[str, Any]]:
        """The probe, trained on the model's own texts about split probe alone, and what it hangs on."""
        room = self._room
        longform, model = room.config.longform, self._model()
        settings = {
            "claims": room.judged("generated").protocol, "model": model.protocol, "context": longform.context,
            "probe": {**dataclasses.asdict(longform.probe), "strengths": list(longform.probe.strengths)},
        }  # fmt: skip
        folder = room.folder / "probe"
        path = folder / "probe.safetensors"
        record = run_folder.read_object(folder / "probe.json", f"remove {folder} and run again") or {}
        if path.exists() and record.get("settings") != settings:
            told = run_folder.differences(record.get("settings") or {}, settings)
            raise InputError(f"{folder}: holds another probe ({told}); set another run_dir, or remove that folder")
        states = Path(folder) / "states"
        if not path.exists():
            texts = {text.id: text for text in room.texts("generated")[0]}
            fitted = train_probe(
                self._reader(), self._told("generated", ("probe",)), self._told("generated", ("dev",)), room.by_id,
                texts, states, settings, context=longform.context, strengths=longform.probe.strengths,
                most=longform.probe.claims, seed=longform.probe.seed,
            )  # fmt: skip
            about = {"layer": fitted.layer, "strength": fitted.strength, "dev_auroc": list(fitted.dev_auroc)}
            run_folder.write_json(folder / "probe.json", {"settings": settings} | about)
            fitted.write(path)
            room.say(f"probe: layer {fitted.layer} of {len(fitted.dev_auroc) - 1}, AUROC on dev"
                     f" {max(fitted.dev_auroc):.3f}")  # fmt: skip
        shutil.rmtree(states, ignore_errors=True)  # as large as the claims are many, and of no further use
        return Probe.read(path), settings

    def _scorers(self, fitted: Probe | None) -> list[Scorer]:
        """Those of `longform.scorers`; reads the model's weights."""
        room = self._room
        longform, names, reader = room.config.longform, set(room.config.longform.scorers), self._reader()
        made: list[Scorer] = []
        if names & {"probe", "logprob"}:
            made.append(OwnReading(reader, longform.context, fitted))
        if "p_true" in names:
            asked, examples = longform.p_true, ""
            verdicts = tuple(asked.verdicts)
            if asked.examples:
                told = self._told("generated", ("probe",))
                examples = examples_of(*told, room.by_id, asked.examples, asked.seed, asked.form, verdicts)
            made.append(PTrue(reader, asked.form, verdicts, examples))
        if "consistency" in names:
            own = [(room.texts(source)[0], room.judged(source)) for source in ("generated", "resampled")]
            sentences: dict[str, list[str]] = {}
            for _, found in own:
                for row in found.sentences:
                    sentences.setdefault(row["text_id"], []).append(row["words"])
            texts = [text for some, _ in own for text in some]
            made.append(Consistency(texts, [claim for _, found in own for claim in found.claims], sentences))
        return made

    def _raw(self, source: str) -> Stage:
        """The raw scores of a source's claims, but for those of split probe: a table in parts."""
        room = self._room
        longform = room.config.longform
        fitted, trained_by = self.probe() if "probe" in longform.scorers else (None, None)
        settings = {
            "claims": room.judged(source).protocol, "scorers": sorted(longform.scorers), "context": longform.context,
            "model": self._model().protocol, "probe": trained_by and digest(trained_by),
        }  # fmt: skip
        if "p_true" in longform.scorers:
            settings["p_true"] = dataclasses.asdict(longform.p_true) | {"from": room.judged("generated").protocol}
        if "consistency" in longform.scorers:
            settings["others"] = [room.judged(one).protocol for one in ("generated", "resampled")]
        stage = room.stage(f"{source}/raw", RAW, settings)
        if not stage.done():
            claims, _ = self._told(source, ("train", "dev", "test"))
            scorers = self._scorers(fitted)

            def make(part: Sequence[Claim]) -> tuple[list[dict[str, Any]], Counter]:
                found = raw_scores(scorers, part, room.by_id)
                rows = [
                    {"claim_id": claim.id, "scorer": name, "raw": float(score)}
                    for name in longform.scorers
                    for claim, score in zip(part, found[name], strict=True)
                ]
                return rows, Counter(claims=len(part))

            stage.in_parts(claims, PART, make)
        return stage


def _scores(stage: Stage, claims: Sequence[Claim]) -> dict[str, Any]:
    """Raw scores of these claims by scorer, of a table that has them."""
    table = pd.DataFrame(stage.read()[0], columns=RAW.names)
    wanted = [claim.id for claim in claims]
    return {
        name: of.set_index("claim_id")["raw"].reindex(wanted).to_numpy()
        for name, of in table.groupby("scorer", sort=False)
    }
