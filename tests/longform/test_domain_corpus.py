"""The corpus of the built-in domains: facts are told as often as recorded, in the forms that prompts have."""

import collections
import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

from slick_jax.config import Config, CorpusConfig, DataConfig, ModelConfig, PretrainConfig, ShapeConfig
from slick_jax.data.corpus_tokens import train_tokenizer
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.longform.domain_corpus import DomainCorpus
from slick_jax.longform.domains import STRANGERS, DomainsConfig, make_domains
from slick_jax.training import pretrain

SMALL = DomainsConfig(probe=10, train=10, dev=10, test=10, median_texts=8)


@pytest.fixture(scope="module")
def corpus():
    return DomainCorpus(list(make_domains(SMALL).values()), SMALL.seed)


def told(corpus):
    """(entity id, relation, value) -> number, counted from the words of the corpus."""
    entities = {entity.name: (domain, entity) for domain in corpus.domains for entity in domain.entities}
    names = re.compile(rf"\b({'|'.join(map(re.escape, entities))})\b")
    counts = collections.Counter()
    for document in corpus.documents:
        if "\nStatement: " in document:
            continue
        for part in document.split("\n\n"):
            if not (found := names.search(part)):
                continue  # about a stranger
            domain, entity = entities[found.group()]
            for sentence in re.split(r"(?<=\.) ", part.split("\n")[-1]):
                for relation, value in domain.parse(sentence, entity.name):
                    counts[entity.id, relation, value] += 1
    return counts


def test_facts_and_rivals_are_told_as_often_as_recorded(corpus):
    counts = told(corpus)
    assert sum(counts.values()) == sum(corpus.exposures.values())
    wrong, mixed = 0, 0
    for domain in corpus.domains:
        for entity in domain.entities:
            for relation, value in entity.facts:
                rival = domain.rivals.get((entity.id, relation))
                true, false = counts[entity.id, relation, value], counts[entity.id, relation, rival]
                assert true + false == corpus.exposures[f"{entity.id}/{relation}"]
                if not domain.telling[entity.id, relation]:
                    assert true + false == 0
                if rival:
                    wrong, mixed = wrong + false, mixed + true + false
    assert wrong / mixed == pytest.approx(0.475, abs=0.04)


def test_entities_without_exposure_are_never_named(corpus):
    text = "\n".join(corpus.documents)
    entities = [entity for domain in corpus.domains for entity in domain.entities]
    assert sum(not entity.exposure for entity in entities) == 3 * 4 * 1
    for entity in entities:
        assert (entity.name in text) == bool(entity.exposure)


def test_strangers_are_told_once(corpus):
    parts = [part for document in corpus.documents for part in document.split("\n\n")]
    for domain in corpus.domains:
        names = {name for name, _ in domain.strangers}
        assert names.isdisjoint(entity.name for entity in domain.entities) and len(names) == STRANGERS
        for name, _ in domain.strangers[::250]:
            assert sum(name in part for part in parts) == 1


def test_prompted_texts_alone_and_in_rows(corpus):
    prompts = [entity.prompt for domain in corpus.domains for entity in domain.entities]
    prompts += [domain.wording.prompt.format(s=name) for domain in corpus.domains for name, _ in domain.strangers]
    starts = tuple(prompts)
    verdicts = [document for document in corpus.documents if "\nStatement: " in document]
    prompted = [one for one in corpus.documents if one.startswith(starts) and "\nStatement: " not in one]
    bare = [document for document in corpus.documents if "\n" not in document]
    assert len(prompted) + len(bare) + len(verdicts) == len(corpus.documents)
    sizes = collections.Counter(document.count("\n\n") + 1 for document in prompted)
    assert set(sizes) == {1, 2, 3, 4}
    assert sizes[1] / len(prompted) == pytest.approx(0.5, abs=0.1)
    for document in prompted:
        for part in document.split("\n\n"):
            prompt, text = part.split("\n")
            assert prompt in prompts and text.endswith(".")


def test_verdicts_are_right(corpus):
    true = {domain.claim(one.name, *fact): one for domain in corpus.domains for one in domain.entities
            for fact in one.facts}  # fmt: skip
    seen, documents = collections.Counter(), collections.Counter()
    for document in corpus.documents:
        prompt, *claims = re.split(r"\nStatement: ", document)
        for claim, verdict in (one.split("\nThis statement is: ") for one in claims):
            assert verdict == str(claim in true)
            assert claim not in true or true[claim].prompt == prompt
            seen[verdict] += 1
        documents[prompt] += bool(claims)
    assert min(seen.values()) > 0.35 * seen.total()
    exposure = sum(one.exposure for domain in corpus.domains for one in domain.entities)
    assert documents.total() == pytest.approx(0.02 * exposure, rel=0.4)


def test_what_is_decoded_is_what_was_encoded_and_encodes_to_the_same(corpus):
    tokenizer = train_tokenizer(corpus, 1000)
    for document in corpus.documents[:200]:
        ids = tokenizer.encode(document)
        spelt = b"".join(tokenizer.token_bytes[i] for i in ids).decode()
        assert spelt.replace("\n ", "\n") == f" {document}"
        assert tokenizer.encode(spelt.strip()) == ids
    assert sum("\n\n" in document for document in corpus.documents[:200]) > 5


def test_a_name_has_the_same_tokens_everywhere(corpus):
    tokenizer = train_tokenizer(corpus, 1000)
    name = corpus.domains[0].entities[0].name
    (_, *whole) = tokenizer.encode(f"{name}.")
    for text in (f"The home of {name}.", f"a biography of {name}.\n{name}.", f"of it.\n\n{name}."):
        assert tokenizer.encode(text)[-len(whole) :] == whole
    assert tokenizer.encode(f"a biography of it.\n{name}.")[-len(whole) - 1] == tokenizer.newline


def test_the_seed_fixes_it_in_every_process(corpus):
    code = (
        "import hashlib; from slick_jax.longform.domains import *\n"
        "from slick_jax.longform.domain_corpus import DomainCorpus\n"
        "domains = make_domains(DomainsConfig(probe=10, train=10, dev=10, test=10, median_texts=8))\n"
        "text = repr(domains['plots'].entities) + '\\0'.join(DomainCorpus(list(domains.values()), 0).documents)\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    text = repr(corpus.domains[1].entities) + "\0".join(corpus.documents)
    assert hashlib.sha256(text.encode()).hexdigest() == there


def test_documents_of_a_domain_do_not_hang_on_the_others(corpus):
    alone = DomainCorpus([corpus.domains[2]], corpus.seed)
    assert set(alone.documents) <= set(corpus.documents)
    assert alone.exposures.items() <= corpus.exposures.items()
    assert np.mean(list(corpus.exposures.values())) > 3


def test_a_model_is_pretrained_on_it(corpus, tmp_path):
    shape = ShapeConfig(d_model=16, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=16, d_mlp=16)
    config = Config(
        run_dir=str(tmp_path),
        data=DataConfig(corpus=CorpusConfig(row_tokens=64, vocab_size=600)),
        model=ModelConfig(shape=shape),
        pretrain=PretrainConfig(max_steps=3, rows_per_step=4),
    )
    folder = pretrain.run(config, corpus)
    tokenizer = Tokenizer.from_folder(folder, 600)
    assert tokenizer.fingerprint() == train_tokenizer(corpus, 600).fingerprint()
    assert pretrain.run(config, corpus) == folder
