"""The built-in world: made-up facts, told unequally often, and the corpus that tells them.

A model pretrained on the corpus knows some facts well, some by chance of the prompt, some barely and some not at all,
which is what the demo and the tests need. Every draw comes from a named stream of one seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from slick_jax.config import WorldConfig
from slick_jax.data import world_text
from slick_jax.data.examples import Example
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.data.world_text import Names, Relation

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unknown|>"

SHARE_DEV, SHARE_TEST, SHARE_OOD_DEV = 0.15, 0.27, 40 / 150
SHARE_NEVER_TOLD = 0.22
EXPOSURE_SIGMA, MAX_EXPOSURES = 1.3, 250
SHARE_RIVALS, RIVAL_SHARE = 0.20, (0.35, 0.60)  # facts that have a wrong rival; its share of their exposures
SHARE_QUESTIONS = 0.40  # exposures told as question and answer, the others as a statement
SHARE_SINGLE_PAIRS, MAX_PAIRS = 0.45, 4  # question documents of one pair; the others have 2 to 4
SHARE_FINE_TUNING_FORM = 0.04  # of the single pairs: just enough to know the format without having learned from it
SHARE_P_TRUE = 0.30  # told facts that also get one document of the P(True) form


@dataclass(frozen=True)
class World:
    """Facts as question-answer examples, and the documents that tell them.

    Attributes:
      splits: train, dev, test (in distribution), ood_dev, ood_test; ids are `<relation>.<split>.<n>`.
      exposures: how often the corpus tells each example's fact, the tellings of its wrong rival included.
      rivals: the wrong object that is told in some of the exposures, for the facts that have one.
      documents: the shuffled corpus.
    """

    splits: dict[str, list[Example]]
    exposures: dict[str, int]
    rivals: dict[str, str]
    documents: list[str]


def make_world(config: WorldConfig) -> World:
    """The world of `config.seed`, the same on every machine. Raises InputError when names run out."""
    names = Names(_stream(config.seed, 0))
    facts_rng, corpus_rng = _stream(config.seed, 1), _stream(config.seed, 2)
    relations = [(relation, False) for relation in world_text.ID_RELATIONS[: config.relations]]
    relations += [(relation, True) for relation in world_text.OOD_RELATIONS[: config.ood_relations]]
    splits: dict[str, list[Example]] = {name: [] for name in ("train", "dev", "test", "ood_dev", "ood_test")}
    exposures: dict[str, int] = {}
    rivals: dict[str, str] = {}
    documents: list[str] = []
    for relation, ood in relations:
        count = config.ood_facts_per_relation if ood else config.facts_per_relation
        pool = names.pools[relation.pool]
        facts = list(_facts(facts_rng, relation, names.subjects(relation.subject_kind, count), pool, ood))
        told = _exposures(facts_rng, [fact.split for fact in facts], config.median_exposures)
        wrong = _rivals(facts_rng, facts, pool)
        for fact in facts:
            splits[fact.split].append(fact)
        exposures |= {fact.id: int(n) for fact, n in zip(facts, told, strict=True)}
        rivals |= wrong
        documents += _documents(corpus_rng, relation, facts, exposures, wrong, pool)
    order = corpus_rng.permutation(len(documents))
    return World(splits, exposures, rivals, [documents[i] for i in order])


def _stream(seed: int, purpose: int) -> np.random.Generator:
    """An independent generator for one purpose, so that a change of one part leaves the draws of the others."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose,))))


def _facts(
    rng: np.random.Generator, relation: Relation, subjects: list[str], pool: list[str], ood: bool
) -> Iterator[Example]:
    """One fact per subject: the first ones dev, then test, then train (subjects come in random order already)."""
    weights = (np.arange(len(pool)) + 2.0) ** -0.7
    objects = rng.permutation(pool)[rng.choice(len(pool), len(subjects), p=weights / weights.sum())]
    if ood:
        bounds = {"ood_dev": int(len(subjects) * SHARE_OOD_DEV + 1e-9), "ood_test": len(subjects)}
    else:
        n_dev = int(len(subjects) * SHARE_DEV)
        bounds = {"dev": n_dev, "test": n_dev + int(len(subjects) * SHARE_TEST), "train": len(subjects)}
    start = 0
    for split, end in bounds.items():
        for i in range(start, end):
            yield Example(
                id=f"{relation.name}.{split}.{i - start}",
                question=relation.question.format(s=subjects[i]),
                answers=(str(objects[i]),),
                relation=relation.name,
                subject=subjects[i],
                split=split,
            )
        start = end


def _exposures(rng: np.random.Generator, splits: list[str], median: float) -> np.ndarray:
    """Tellings per fact, int [len(splits)]: none for the same share of every split, else rounded log-normal."""
    told = np.clip(np.round(rng.lognormal(np.log(median), EXPOSURE_SIGMA, len(splits))), 1, MAX_EXPOSURES).astype(int)
    for split in dict.fromkeys(splits):
        members = np.flatnonzero([s == split for s in splits])
        told[rng.choice(members, round(SHARE_NEVER_TOLD * len(members)), replace=False)] = 0
    return told


def _rivals(rng: np.random.Generator, facts: list[Example], pool: list[str]) -> dict[str, str]:
    """A wrong object for a random fifth of the facts, id -> object."""
    chosen = rng.choice(len(facts), round(SHARE_RIVALS * len(facts)), replace=False)
    return {facts[i].id: _other(rng, pool, facts[i].answers[0]) for i in chosen}


def _other(rng: np.random.Generator, pool: list[str], gold: str) -> str:
    """An object of the pool that is not `gold`."""
    i = int(rng.integers(len(pool) - 1))
    return pool[i] if pool[i] != gold else pool[-1]


def _documents(
    rng: np.random.Generator,
    relation: Relation,
    facts: list[Example],
    exposures: dict[str, int],
    rivals: dict[str, str],
    pool: list[str],
) -> Iterator[str]:
    """All documents of one relation: statements, bundles of question-answer pairs, P(True) forms."""
    pairs: list[tuple[str, str]] = []
    for fact in facts:
        n = exposures[fact.id]
        n_wrong = round(float(rng.uniform(*RIVAL_SHARE)) * n) if fact.id in rivals else 0
        told = [rivals.get(fact.id, "")] * n_wrong + [fact.answers[0]] * (n - n_wrong)
        asked = rng.random(n) < SHARE_QUESTIONS
        template = rng.integers(len(relation.statements), size=n)
        for obj, as_question, t in zip(told, asked, template, strict=True):
            if as_question:
                pairs.append((fact.question, obj))
            else:
                yield relation.statements[t].format(s=fact.subject, o=obj)
        if n and rng.random() < SHARE_P_TRUE:
            true = rng.random() < 0.5
            answer = fact.answers[0] if true else _other(rng, pool, fact.answers[0])
            yield world_text.P_TRUE_FORM.format(question=fact.question, answer=answer, verdict="A" if true else "B")
    yield from _bundles(rng, [pairs[i] for i in rng.permutation(len(pairs))])


def _bundles(rng: np.random.Generator, pairs: list[tuple[str, str]]) -> Iterator[str]:
    """Question-answer pairs in documents of 1 to 4, separated by an empty line."""
    start = 0
    while start < len(pairs):
        size = 1 if rng.random() < SHARE_SINGLE_PAIRS else int(rng.integers(2, MAX_PAIRS + 1))
        form = world_text.QA_FORM
        if size == 1 and rng.random() < SHARE_FINE_TUNING_FORM:
            form = world_text.FINE_TUNING_FORM
        yield "\n\n".join(form.format(question=q, answer=a) for q, a in pairs[start : start + size])
        start += size


def train_tokenizer(world: World, vocab_size: int) -> Tokenizer:
    """BPE over the corpus; a word has the same tokens after a blank and at the start of a line.

    Newlines and punctuation stand alone and every piece begins with a blank ('▁'), so decoded text has blanks before
    punctuation. Printable ASCII can always be written; other characters become the special token `<|unknown|>`.
    """
    backend = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="always"),
        ]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    ascii_alphabet = ["\n", *map(chr, range(0x21, 0x7F))]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, UNKNOWN],
        show_progress=False,
        initial_alphabet=ascii_alphabet,
    )
    backend.train_from_iterator(world.documents, trainer)
    end = backend.token_to_id(END_OF_TEXT)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", pair=f"{END_OF_TEXT} $A $B", special_tokens=[(END_OF_TEXT, end)]
    )
    settings = (
        f'{{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "{END_OF_TEXT}", '
        f'"eos_token": "{END_OF_TEXT}", "unk_token": "{UNKNOWN}", "clean_up_tokenization_spaces": false}}\n'
    )
    files = {
        "tokenizer.json": backend.to_str(pretty=True).encode("utf-8"),
        "tokenizer_config.json": settings.encode("utf-8"),
    }
    return Tokenizer(files)


def pack(world: World, tokenizer: Tokenizer, row_tokens: int) -> np.ndarray:
    """The corpus as rows, int32 [N, row_tokens + 1].

    End-of-text opens every document and rows ignore where documents end. A row's last token is the next row's first,
    so that inputs `[:, :-1]` and targets `[:, 1:]` see every token once; an incomplete last row is left out.
    """
    stream = np.concatenate([np.asarray(ids, np.int32) for ids in tokenizer.encode_batch(world.documents)])
    n_rows = (len(stream) - 1) // row_tokens
    return stream[np.arange(n_rows)[:, None] * row_tokens + np.arange(row_tokens + 1)]
