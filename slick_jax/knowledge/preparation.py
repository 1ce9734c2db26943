"""What annotation knows before the model runs: rows, exemplar sets, drafts, prompts and parts, all checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from slick_jax.config import BESIDE_LABELS, SHAPES, AnnotateConfig, Config
from slick_jax.data.examples import POOL_SPLITS, Example, chosen_splits, load_splits, raise_problems
from slick_jax.data.prompt_styles import prompt_style
from slick_jax.data.prompts import Draft, PrefixTable, Rest, draft_answers, tokenise_prompts
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from slick_jax.files.hashing import id_words
from slick_jax.knowledge import exemplars, p_true
from slick_jax.knowledge.match import Golds, Matcher, abstention_golds, matcher
from slick_jax.knowledge.p_true import Proposal
from slick_jax.knowledge.shapes import Shapes, choose_shapes
from slick_jax.knowledge.verify import Protocol, Question
from slick_jax.progress import Progress

PREFIX_STEP = 16  # shared prefixes are padded to a multiple of this
MAX_PART_RELATIONS = 8  # a part keeps the prefixes of at most this many relations on the device

PrefixKey = tuple[str, int] | tuple[str]  # relation and number of the exemplar set, or `p_true.PREFIX`
ALL: PrefixKey = ("", 0)  # of what all prompts share, where every question has exemplars of its own


@dataclasses.dataclass(frozen=True)
class AskedRows:
    """What is asked: all splits as read, the rows to annotate in input order, the exemplar sets of their relations, and
    the sets that each row is asked behind."""

    splits: dict[str, list[Example]]
    rows: list[Example]
    sets: dict[str, exemplars.ExemplarSets]
    assigned: Sequence[Sequence[exemplars.Chosen]]


def ask(config: Config, splits: dict[str, list[Example]] | None = None) -> AskedRows:
    """Read the rows, or take those of `splits`, and draw their exemplars; needs no model.

    `data.limit` cuts the rows, never the pools: a limited run gives its rows the labels of the whole one. Rows that are
    their own pool are its pool whole, whatever `data.share` of them is asked. Raises InputError for bad rows and for
    pools that are too small.
    """
    settings = config.annotate
    own_draws = settings.exemplars == "per_question"
    splits = load_splits(config.data) if splits is None else splits
    names = chosen_splits(config.data, splits)
    rows = [row for name in names for row in splits[name][: config.data.limit]]
    if not rows:
        raise InputError("config.data: no rows to annotate; check data.path, data.splits and data.limit")
    dev = [row for name in POOL_SPLITS for row in splits.get(name, ())]
    shared = not dev and config.data.share < 1
    whole = load_splits(dataclasses.replace(config.data, share=1.0)) if shared else splits
    own = (row for name in names for row in whole[name])
    sets = exemplars.draw_sets(
        exemplars.pools(rows, dev, own, settings.exemplar_seed),
        n_sets=settings.n_exemplar_sets,
        n_reserve=0 if own_draws else settings.n_reserve_sets,
        size=settings.n_exemplars,
        seed=settings.exemplar_seed,
    )
    choose = exemplars.ExemplarSets.draw_for if own_draws else exemplars.ExemplarSets.assign
    return AskedRows(splits, rows, sets, [choose(sets[row.relation], row, settings.n_exemplar_sets) for row in rows])


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The whole input of an annotation run.

    rows: examples in input order; sets: exemplar sets by relation; assigned: those of each row, a slot each. drafts:
    per row, the gold answers first; rule: when an answer is right. prompts: the shared prefixes; rests: per row and
    slot, the prompt behind its prefix, for `prompts.rest`. proposals: per row, for P(True); none where it is not asked.
    parts: row indices per part, cut by relation and id alone; settings: those of annotation; template: the name of the
    prompt style.
    """

    rows: list[Example]
    sets: dict[str, exemplars.ExemplarSets]
    assigned: Sequence[Sequence[exemplars.Chosen]]
    drafts: list[list[Draft]]
    rule: Matcher
    prompts: PrefixTable
    rests: list[list[Rest]]
    proposals: list[Proposal]
    parts: list[list[int]]
    settings: AnnotateConfig
    template: str

    @functools.cached_property
    def used_sets(self) -> dict[str, list[exemplars.Chosen]]:
        """Per relation, the numbers of the exemplar sets that a row is asked behind.

        With exemplars per question, every row of the pool that some question is asked behind, as a set of one.
        """
        used: dict[str, set[exemplars.Chosen]] = {}
        for row, chosen in zip(self.rows, self.assigned, strict=True):
            if self.own_draws:
                used.setdefault(row.relation, set()).update((index,) for one in chosen for index in one)
            else:
                used.setdefault(row.relation, set()).update(chosen)
        return {relation: sorted(chosen) for relation, chosen in used.items()}

    @functools.cached_property
    def _abstentions(self) -> Golds | None:
        """What counts as abstaining, for all questions."""
        return abstention_golds(self.settings.abstain_phrases)

    @property
    def own_draws(self) -> bool:
        """Whether every question has exemplar sets of its own."""
        return self.settings.exemplars == "per_question"

    def prefix(self, key: PrefixKey) -> np.ndarray:
        """Token ids of a shared prefix."""
        return self.prompts.prefix(key)

    def part_prefixes(self, part: Sequence[int]) -> list[PrefixKey]:
        """Keys of the shared prefixes of a part's relations, in bank order."""
        more = [p_true.PREFIX] if self.proposals else []
        if self.own_draws:
            return [ALL, *more]
        relations = sorted({self.rows[index].relation for index in part})
        return [(relation, number) for relation in relations for number in self.used_sets[relation]] + more

    @functools.cached_property
    def prefix_lengths(self) -> list[int]:
        """Tokens of every shared prefix of the run."""
        return [len(self.prefix(key)) for key in self.part_prefixes(range(len(self.rows)))]

    @property
    def prefix_length(self) -> int:
        """Length P that every shared prefix is padded to."""
        longest = max(self.prefix_lengths)
        return max(PREFIX_STEP, -(-longest // PREFIX_STEP) * PREFIX_STEP)

    @property
    def bank_slots(self) -> int:
        """Size of the prefix bank: the most prefixes any part needs."""
        return max(len(self.part_prefixes(part)) for part in self.parts)

    @functools.cached_property
    def _own_tokens(self) -> list[list[int]]:
        """Tokens of every row's question, behind each of its prefixes."""
        return [[len(self.prompts.rest(rest)) for rest in rests] for rests in self.rests]

    @functools.cached_property
    def first_trees(self) -> list[list[int]]:
        """Tokens that the first round asks of every row, behind each of its prefixes: the question and all drafts."""
        drafted = [sum(len(made.tokens) for made in drafts) for drafts in self.drafts]
        return [[own + more for own in mine] for mine, more in zip(self._own_tokens, drafted, strict=True)]

    @property
    def part_tokens(self) -> int:
        """Tokens of the first round of a part, at most."""
        return max(sum(sum(self.first_trees[index]) for index in part) for part in self.parts)

    def shapes(self, shards: int) -> Shapes:
        """Batch shapes that fit the run's first round, which is nearly all of its work."""
        questions = [own for mine in self._own_tokens for own in mine]
        path = self.settings.max_answer_tokens - 1
        proposed = [len(self.prompts.rest(one.kept)) + one.extra for one in self.proposals]
        alone = max(questions) + path
        lengths = [min(length, alone) for mine in self.first_trees for length in mine] + proposed
        longest = max([alone, *proposed])
        tokens, part = self.settings.batch_tokens, self.part_tokens
        return choose_shapes(lengths, longest, tokens, shards, part=part, questions=questions, path=path)

    def question(self, index: int, places: dict[PrefixKey, int]) -> Question:
        """Row `index` as the engine takes it; `places` are the prefixes' in the bank."""
        row = self.rows[index]
        return Question(
            words=id_words(row.id),
            slots=[(places[one.key], self.prompts.rest(one).tolist()) for one in self.rests[index]],
            golds=Golds(row.answers, self.rule),
            abstentions=self._abstentions,
            drafts=[(draft.tokens, draft.stop) for draft in self.drafts[index]],
        )

    def proposal(self, index: int) -> tuple[list[int], tuple[tuple[int, ...], tuple[int, ...]]]:
        """Row `index` as `p_true.Scoring` takes it."""
        one = self.proposals[index]
        return self.prompts.rest(one.kept).tolist(), one.tails

    def exemplars_json(self) -> dict:
        """The exemplar sets of every relation as ids, questions and answers, for the run folder.

        With exemplars per question, the rows that its sets are made of, under their numbers in the relation's pool.
        """
        return {
            relation: {
                str(one[0] if isinstance(one, tuple) else one): [
                    {"id": row.id, "question": row.question, "answer": row.answers[0]}
                    for row in self.sets[relation].get(one)
                ]
                for one in chosen
            }
            for relation, chosen in sorted(self.used_sets.items())
        }


def prepare(config: Config, asked: AskedRows, tokenizer: Tokenizer, max_positions: int | None) -> Prepared:
    """Tokenise and check what `slick annotate` asks.

    Raises InputError for answers that do not fit `annotate.max_answer_tokens`, and prompts longer than the model's
    `max_positions`.
    """
    settings, rows, sets, assigned = config.annotate, asked.rows, asked.sets, asked.assigned
    style = prompt_style(settings, tokenizer)
    drafts = draft_answers(style, rows)
    rule = matcher(settings.match)
    _check_drafts(rows, drafts, rule, settings.max_answer_tokens)
    own_draws = settings.exemplars == "per_question"
    questions = (
        (row, [(ALL if own_draws else (row.relation, one), sets[row.relation].get(one)) for one in chosen])
        for row, chosen in zip(rows, assigned, strict=True)
    )
    prompts, rests = tokenise_prompts(style, questions, Progress("tokenise", len(rows), "questions"))
    if max_positions is not None:
        _check_lengths(rows, prompts, rests, max_positions - settings.max_answer_tokens)
    proposals = p_true.tokenise(style, rows, prompts, max_positions) if settings.p_true else []
    parts = _cut(rows, settings.part_size)
    return Prepared(rows, sets, assigned, drafts, rule, prompts, rests, proposals, parts, settings, style.name)


def _cut(rows: list[Example], part_size: int) -> list[list[int]]:
    """Row indices of every part: ordered by relation and id, so that a part's rows depend on ids alone."""
    order = sorted(range(len(rows)), key=lambda index: (rows[index].relation, rows[index].id))
    parts: list[list[int]] = []
    relations: set[str] = set()  # of the last part
    for index in order:
        relations.add(rows[index].relation)
        if not parts or len(parts[-1]) == part_size or len(relations) > MAX_PART_RELATIONS:
            parts.append([])
            relations = {rows[index].relation}
        parts[-1].append(index)
    return parts


def _check_drafts(rows: list[Example], drafts: list[list[Draft]], rule: Matcher, limit: int) -> None:
    """Every answer fits the token limit, and some answer of every row can be written with the tokenizer's tokens."""
    raise_problems(
        [
            f"row {row.id!r}: {problem}"
            for row, made in zip(rows, drafts, strict=True)
            for problem in draft_problems(row, made, rule, limit)
        ], f"answers that can never be right (annotate.max_answer_tokens={limit}); raise it or drop the rows:"
    )


def draft_problems(row: Example, drafts: list[Draft], rule: Matcher, limit: int) -> Iterator[str]:
    """Why a row can never be answered right with at most `limit` tokens, given its answers as tokens."""
    golds = Golds(row.answers, rule)
    if not any(golds.match(made.text)[1] for made in drafts):
        yield f"the tokenizer cannot write {row.answers[0]!r}, only {drafts[0].text!r}"
    for answer, made in zip(row.answers, drafts, strict=True):
        if len(made.tokens) + 1 > limit:
            yield f"the answer {answer!r} takes {len(made.tokens) + 1} tokens with its end"


def _check_lengths(rows: list[Example], prompts: PrefixTable, rests: list[list[Rest]], limit: int) -> None:
    longest, name = max(
        (max(len(prompts.prefix(one.key)) + len(prompts.rest(one)) for one in mine), row.id)
        for row, mine in zip(rows, rests, strict=True)
    )
    if longest > limit:
        raise InputError(
            f"row {name!r}: its prompt has {longest} tokens, the model's max_position_embeddings leaves {limit} besides"
            " the answer; shorten the row or its exemplars, or lower annotate.n_exemplars"
        )


def protocol_of(settings: AnnotateConfig) -> Protocol:
    """The engine's view of the settings, by mode: `labels` has no exact P_Correct, `exact` no samples."""
    pairs = ((settings.temperature, settings.top_k), *settings.exact_pairs)
    return Protocol(
        n_samples=settings.drawn_samples,
        max_answer_tokens=settings.max_answer_tokens,
        pairs=() if settings.mode == "labels" else pairs,
        tolerance=settings.exact_tolerance,
        lazy_samples=settings.mode == "labels",
    )


def protocol_fields(
    config: Config, prepared: Prepared, model: str, tokenizer: str, mesh_shape: Mapping[str, int]
) -> dict:
    """All that a label depends on, for the protocol hash. `model`, `tokenizer`: fingerprints; `mesh_shape`: devices
    along each axis of the mesh that a part is computed on."""
    settings = dataclasses.asdict(config.annotate)
    del settings["prompt_style"], settings["chat_options"]  # the template holds both
    shape = {name: settings.pop(name) for name in SHAPES}
    for name in BESIDE_LABELS:
        del settings[name]
    shape |= {"p_true": config.annotate.p_true}  # its prompts are computed together with the questions
    shape |= {"mesh": dict(mesh_shape), "scan_layers": config.model.scan_layers}
    return {
        **settings,
        "model": model,
        "tokenizer": tokenizer,
        "template": prepared.template,
        "exemplar_sets": prepared.exemplars_json(),
        "dtype": config.model.dtype,
        "weights": config.model.weights or config.model.dtype,
        "precision": config.model.precision,
        "match_source": prepared.rule.source,
        "shapes": None if config.model.exact else shape,
    }


def further_columns(settings: AnnotateConfig) -> dict[str, str | None]:
    """What decides columns that are measured together with the labels, and change none, by the setting that asks."""
    return {"p_true": p_true.FORM if settings.p_true else None}
