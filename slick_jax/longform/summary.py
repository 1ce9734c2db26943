"""From the tables of all domains to the report: scores of every answer, measures of belief, what was skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from etils import epath

from slick_jax.config import Config
from slick_jax.files import run_folder
from slick_jax.longform import arm_files, evaluation, report
from slick_jax.longform.answers import per_answer
from slick_jax.longform.checkpoint import Checkpoint
from slick_jax.longform.judge import Judged
from slick_jax.longform.records import CLAIMS, SENTENCES, TEXTS, Text
from slick_jax.longform.rooms import Room
from slick_jax.longform.store import ROOM, text_row

SKIPPED = {
    "truncated": "texts cut at the token limit", "empty": "texts without a word", "abstained": "texts that abstain",
    "cut": "unfinished last sentences", "unparsed": "sentences that do not parse",
    "fell_back": "sentences that are their own claim, as the checkpoint wrote none or they are too long for it",
}  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """Answers of one model about a domain's test entities; trained_on: '' for BASE."""

    arm: str
    trained_on: str
    seed: int
    texts: list[Text]
    judged: Judged


def write(
    config: Config,
    rooms: Mapping[Room, Sequence[Answered]],
    model: Checkpoint,
    claims_model: Checkpoint | None,
    verifier_model: Checkpoint | None,
    shown: dict,
) -> epath.Path:
    """Write <run_dir>/longform/answers.parquet, a row per answer, and the report; returns the path of its page.

    shown: the settings that the page lists.
    """
    longform = config.longform
    folder = epath.Path(config.run_dir) / ROOM
    answers = pd.concat([_answers(room, made, longform.gamma) for room, made in rooms.items()], ignore_index=True)
    run_folder.write_parquet(folder / "answers.parquet", pa.Table.from_pandas(answers, preserve_index=False))
    measured = {room.name: _belief(room) for room in rooms}
    skipped = [row for room, made in rooms.items() for row in _skipped(room, made, measured[room.name].measures)]
    study = report.Study(
        "Long-form study",
        answers,
        training=arm_files.training_table({room.name: room.arms() for room in rooms}),
        belief=_by_domain({name: found.measures for name, found in measured.items()}),
        reliability=_by_domain({name: found.reliability for name, found in measured.items()}),
        sentences=_by_domain({room.name: _table(room.judged("generated").sentences, SENTENCES) for room in rooms}),
        method=_method(config, model, claims_model, verifier_model),
        skipped=pd.DataFrame(skipped, columns=["domain", "what", "n"]),
        flat=[room.name for room in rooms if _flat(room)],
        alike=[room.name for room, made in rooms.items() if _alike(room, made)],
        missing=list(_missing(config)),
        config=shown,
        scorer=longform.filter.scorer,
        match=longform.filter.match,
        tolerance=longform.filter.tolerance,
        margin=longform.margin,
        gamma=longform.gamma,
    )
    return report.write(folder, study)


def _table(rows: Sequence[Mapping], schema: pa.Schema) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=schema.names)


def _by_domain(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([table.assign(domain=name) for name, table in tables.items()], ignore_index=True)


def _answers(room: Room, made: Sequence[Answered], gamma: float) -> pd.DataFrame:
    texts = [
        text_row(text) | {"arm": one.arm, "trained_on": one.trained_on, "seed": one.seed}
        for one in made
        for text in one.texts
    ]
    claims = _table([row for one in made for row in one.judged.labels], CLAIMS)
    sentences = _table([row for one in made for row in one.judged.sentences], SENTENCES)
    return per_answer(pd.DataFrame(texts), sentences, claims, room.table, gamma)


def _belief(room: Room) -> evaluation.Evaluation:
    """Of test entities, gold texts and the model's own apart."""
    sources, longform = ("gold", "generated"), room.config.longform
    return evaluation.evaluate(
        pd.concat([room.believed(source)[0] for source in sources]),
        _table([row for source in sources for row in room.judged(source).labels], CLAIMS),
        _table([text_row(text) for source in sources for text in room.texts(source)[0]], TEXTS),
        room.table,
        threshold=longform.filter.threshold,
        draws=longform.draws,
    )


def _flat(room: Room) -> bool:
    """Whether the belief that filters is the same for all claims of the model's own texts."""
    found = room.believed("generated")[0]
    return found.loc[found["scorer"] == room.config.longform.filter.scorer, "belief"].nunique() < 2


def _alike(room: Room, made: Sequence[Answered]) -> bool:
    """Whether the models that were trained on the domain, two or more, all write the same about it."""
    told = {(one.arm, one.seed): tuple(text.text for text in one.texts) for one in made if one.trained_on == room.name}
    return len(told) > 1 and len(set(told.values())) == 1


def _skipped(room: Room, made: Sequence[Answered], belief: pd.DataFrame) -> Iterator[tuple[str, str, int]]:
    """(domain, what, number) of all that was counted and not used."""
    longform = room.config.longform
    more = "consistency" in longform.scorers
    groups = {
        "reference texts": [(room.texts("gold")[0], room.judged("gold"))],
        "the model's own texts": [(room.texts("generated")[0], room.judged("generated"))],
        "further samples, for consistency": [(room.texts("resampled")[0], room.judged("resampled"))] if more else [],
        "answers": [(one.texts, one.judged) for one in made],
    }
    for where, found in groups.items():
        counts = Counter()
        for texts, judged in found:
            counts.update({"truncated": sum(text.truncated for text in texts)})
            counts.update({name: judged.counts[name] for name in SKIPPED if name != "truncated"})
        yield from ((room.name, f"{where}: {what}", counts[name]) for name, what in SKIPPED.items() if counts[name])
    own = belief[belief["measure"] == "auroc"]
    for row in own[own["left_out"] > 0].itertuples():
        yield room.name, f"{row.source} claims without a label or a belief of {row.scorer}", row.left_out
    long = sum(text.n_tokens > longform.write.max_tokens for text in room.texts("gold")[0])
    if long:
        yield room.name, "references with more tokens than answers may have (write.max_tokens)", long
    manifest = room.arms()
    if room.exemplars:
        yield room.name, "entities that are examples in prompts", len(room.exemplars)
    if manifest["prompts_left_out"]:
        yield room.name, "prompts left out of all arms, as one has no text for them", manifest["prompts_left_out"]


def _method(
    config: Config, model: Checkpoint, claims_model: Checkpoint | None, verifier_model: Checkpoint | None
) -> dict[str, str]:
    """What the reader must know, by name."""
    longform, train, kept = config.longform, config.train, config.longform.filter
    claims = {
        "grammar": "facts, read exactly by the grammar of each domain",
        "model": f"what {claims_model.name if claims_model else ''} writes down for each sentence",
        "sentence": "every sentence is one claim: the fallback where neither a grammar nor a second checkpoint is used",
    }
    checked = {
        "facts": "the entity's fact table, exactly",
        "model": f"{verifier_model.name if verifier_model else ''}, shown {longform.claims.passages} passages (BM25)",
    }
    rule = f"at least {kept.threshold:g}" if kept.rule == "threshold" else f"the best {100 * kept.share:g} % of claims"
    within = f"matched in {kept.match}, within {100 * kept.tolerance:g} %"
    trained = f"LoRA of rank {train.lora.rank}" if train.lora.rank else "all parameters"
    return {
        "model": model.name,
        "claims": claims[longform.claim_method],
        "verified by": checked.get(longform.verifier, f"the function {longform.verifier}, shown passages (BM25)"),
        "belief that filters": f"{kept.scorer}, {longform.calibration} calibration on split dev",
        "filter": f"{kept.granularity}: {rule}",
        "lengths": "not matched" if kept.match == "none" else within,
        "training": f"{trained}, {train.epochs} epochs, of which the last one is used, {train.schedule} rate from"
        f" {train.peak_lr:g}, batches of {train.batch_size}",
        "answers": f"{longform.write.answers}, up to {longform.write.max_tokens} tokens",
    }


def _missing(config: Config) -> Iterator[str]:
    longform = config.longform
    if longform.more_seeds and (longform.more_arms or longform.more_domains):
        seeds = ", ".join(map(str, longform.more_seeds))
        arms, domains = (", ".join(some) or "all" for some in (longform.more_arms, longform.more_domains))
        yield f"seeds {seeds} were run for {arms} in {domains} only"
    if "all" not in longform.transfer:
        chosen = ", ".join(longform.transfer) or "no arm"
        yield f"transfer to other domains was asked of {chosen} only"
