"""What there is to ask: counted in the data with the model's tokenizer where both are there, else assumed, and said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from slick_jax.config import Config
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.knowledge import preparation
from slick_jax.knowledge.preparation import MAX_PART_RELATIONS, AskedRows, Prepared
from slick_jax.knowledge.shapes import LANE, Shapes, choose_shapes
from slick_jax.models.flops import forward_flops
from slick_jax.models.spec import ModelSpec
from slick_jax.settings.needs import data_problems

# Of the paper's prompts on EntityQuestions with a tokenizer of 32 to 128 thousand ids: tokens of an exemplar, of the
# longest question, and of an answer, its end left out.
EXEMPLAR, LONGEST, ANSWER = 24, 32, 3
# All rounds over the first one, in a run of the demo in mode `full`: tokens 1.07, judged positions 1.23. A model that
# knows nothing costs more (docs/performance.md: 1.23 of the tokens).
LATER_TOKENS, LATER_JUDGED = 1.1, 1.25
SAMPLE = 4096  # rows that are tokenised, about, spread evenly over all


@dataclasses.dataclass(frozen=True)
class Questions:
    """What `slick annotate` asks, as far as its cost hangs on it.

    count: questions; parts: part files; sets: exemplar sets of a question; first: tokens of the first round, and
    judged: its judged positions; prefixes: tokens of all shared prefixes, and prefix_length: of the longest, padded;
    bank_slots: prefixes of a part; part_tokens: of the first round of a part; path: of the longest answer that is
    followed; told: where the figures are from; prepared, asked, tokenizer: what was read, None where it is not there.
    """

    count: int
    parts: int
    sets: int
    first: float
    judged: float
    prefixes: float
    prefix_length: int
    bank_slots: int
    part_tokens: int
    path: int
    told: str
    prepared: Prepared | None = None
    asked: AskedRows | None = None
    tokenizer: Tokenizer | None = None

    @property
    def per_part(self) -> int:
        """Questions of a part."""
        return -(-self.count // self.parts)

    def shapes(self, shards: int, tokens: int) -> Shapes:
        """The call shapes of the run, with `tokens` a large call and shard."""
        if self.prepared is not None:
            settings = dataclasses.replace(self.prepared.settings, batch_tokens=tokens)
            return dataclasses.replace(self.prepared, settings=settings).shapes(shards)
        usual = max(self.part_tokens // (self.per_part * self.sets) - ANSWER, 1)
        asked = [*[usual] * 8, max(LONGEST, usual)]
        return choose_shapes([LANE], LANE, tokens, shards, part=self.part_tokens, questions=asked, path=self.path)

    @property
    def tokens(self) -> float:
        """Tokens that go through the layers, in all rounds, prefixes included."""
        return self.first * LATER_TOKENS + self.prefixes

    def dealt(self, teams: int) -> Questions:
        """What the busiest of `teams` asks: they take parts in turn, and read all prefixes each, or a bank a part."""
        rounds = -(-self.parts // teams)
        share = rounds / self.parts
        bank = self.bank_slots * self.prefix_length
        return dataclasses.replace(
            self, count=-(-self.count * rounds // self.parts), parts=rounds, first=self.first * share,
            judged=self.judged * share, prefixes=min(self.prefixes, max(rounds * bank, self.prefixes * share)),
        )  # fmt: skip

    def flops(self, spec: ModelSpec) -> float:
        """FLOPs of all of them."""
        per_tree = self.first / (self.count * self.sets)
        seen = self.first * LATER_TOKENS * (self.prefix_length + per_tree / 2)
        return sum(forward_flops(spec, self.tokens, seen, self.judged * LATER_JUDGED).values())


def questions_of(config: Config, folder: str, spec: ModelSpec) -> Questions:
    """The questions of `config`. Raises InputError for bad rows; where data or tokenizer are not there, or the config
    names none, they are assumed as `config.plan` says."""
    there = config.data.kind == "world" or not list(data_problems(config.data))
    asked = preparation.ask(config) if there else None
    tokenizer = tokenizer_of(folder, spec)
    if asked is not None and tokenizer is not None:
        every = -(-len(asked.rows) // SAMPLE)
        sample = dataclasses.replace(asked, rows=asked.rows[::every], assigned=asked.assigned[::every])
        prepared = preparation.prepare(config, sample, tokenizer, spec.max_position_embeddings)
        return counted(prepared, asked, tokenizer, every)
    return _assumed(config, asked, tokenizer)


def tokenizer_of(folder: str, spec: ModelSpec) -> Tokenizer | None:
    """The tokenizer of the model folder, where it has one."""
    there = folder and any((Path(folder) / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    return Tokenizer.from_folder(folder, spec.vocab_size) if there else None


def counted(prepared: Prepared, asked: AskedRows, tokenizer: Tokenizer, every: int = 1) -> Questions:
    """Of the rows `asked`, of which one in `every` is in `prepared`."""
    proposed = sum(len(prepared.prompts.rest(one.kept)) + one.extra for one in prepared.proposals)
    judged = sum(
        len(trees) * (1 + sum(len(draft.tokens) for draft in drafts))
        for trees, drafts in zip(prepared.first_trees, prepared.drafts, strict=True)
    )
    times = len(asked.rows) / len(prepared.rows)
    which = f" of one in {every} of them" * (every > 1)
    return Questions(
        len(asked.rows), max(len(prepared.parts), len(asked.rows) // prepared.settings.part_size),
        prepared.settings.n_exemplar_sets, (sum(map(sum, prepared.first_trees)) + proposed) * times,
        (judged + len(prepared.proposals)) * times, sum(prepared.prefix_lengths), prepared.prefix_length,
        prepared.bank_slots, prepared.part_tokens, prepared.settings.max_answer_tokens - 1,
        f"rows and tokens of the first round{which} counted, later rounds as in the demo", prepared, asked, tokenizer,
    )  # fmt: skip


def _assumed(config: Config, asked: AskedRows | None, tokenizer: Tokenizer | None) -> Questions:
    settings, plan = config.annotate, config.plan
    count = len(asked.rows) if asked else plan.rows
    relations = len(asked.sets) if asked else MAX_PART_RELATIONS
    shared = settings.exemplars != "per_question"
    prefix = EXEMPLAR * settings.n_exemplars if shared else preparation.PREFIX_STEP
    own = plan.question_tokens if shared else plan.question_tokens + EXEMPLAR * settings.n_exemplars
    per_part = min(settings.part_size, count)
    sets, first = settings.n_exemplar_sets, count * settings.n_exemplar_sets * own
    missing = "no data" if asked is None else "no tokenizer"
    rows = "rows counted" if asked else f"{missing}: {count:,} questions (plan.rows)"
    return Questions(
        count, -(-count // per_part), sets, first, count * sets * (1 + ANSWER), relations * sets * prefix if shared else
        prefix, -(-prefix // preparation.PREFIX_STEP) * preparation.PREFIX_STEP,
        min(relations, MAX_PART_RELATIONS) * sets if shared else 1, per_part * sets * own,
        settings.max_answer_tokens - 1,
        f"{rows}; {own} tokens a question and set (plan.question_tokens) behind prefixes of {prefix} assumed",
        None, asked, tokenizer,
    )  # fmt: skip
