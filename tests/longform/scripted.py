"""A tiny untrained model whose texts are scripted: for whole studies, which need texts that make claims."""

import json
from pathlib import Path

import jax
import numpy as np

from slick_jax.config import AnnotateConfig, Config, ModelConfig, TrainConfig
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.files.hashing import id_words
from slick_jax.longform.domains import make_domains
from slick_jax.longform.generate import Generator
from slick_jax.longform.records import Text
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.models.weights import save_hf
from slick_jax.settings.longform import (
    ClaimsConfig,
    DomainsConfig,
    FilterConfig,
    LongformConfig,
    OwnConfig,
    ProbeConfig,
    WriteConfig,
)
from tests.data.small_tokenizers import byte_level_files

WRONG = 0.4  # share of facts that a scripted text gets wrong
TRAIN = TrainConfig(epochs=1, batch_size=4, peak_lr=1e-3, dropout=0.0, max_target_tokens=2000)


def make_model(folder):
    """A model folder with a byte-level tokenizer."""
    folder.mkdir(parents=True)
    for name, content in byte_level_files(as_json=True).items():
        (folder / name).write_bytes(content)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "bos_token": "<s>"}))
    size = Tokenizer(byte_level_files(as_json=True)).size
    spec = ModelSpec(
        vocab_size=size, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=8, d_mlp=16,
        max_position_embeddings=4096,
    )  # fmt: skip
    network = Network(spec, scan_layers=False)
    extra = {"bos_token_id": 0, "eos_token_id": 1}
    save_hf(folder, network, network.init(jax.random.key(1)), tokenizer_folder=folder, extra_config=extra)
    return folder


def config_of(run_dir, model="", **longform):
    """A study of two built-in domains, two arms and one seed, small in everything."""
    settings = dict(
        arms=("GOLD", "GEN+SELF"), resamples=1, draws=100,
        domains=DomainsConfig(names=("plots", "leaflets"), probe=6, train=8, dev=5, test=5),
        write=WriteConfig(exemplars=1, max_tokens=900), probe=ProbeConfig(strengths=(0.1,)),
        filter=FilterConfig(rule="share", tolerance=0.3),
    )  # fmt: skip
    return Config(
        run_dir=str(run_dir), model=ModelConfig(path=str(model), scan_layers=False), train=TRAIN,
        annotate=AnnotateConfig(batch_tokens=4096), longform=LongformConfig(**(settings | longform)),
    )  # fmt: skip


def own_config(run_dir, folder, **longform):
    """A study of a user's file of 24 made-up towns, claims by sentence, checked by a function."""
    rng, rows = np.random.default_rng(0), []
    for number in range(24):
        name = f"Town {chr(65 + number)}{number}"
        facts = [f"{name} has {rng.integers(2, 99)} {what}." for what in ("mills", "inns", "bridges", "wells")]
        rows.append({"entity": name, "prompt": f"Tell of {name}.", "reference": " ".join(facts)})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "towns.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = ClaimsConfig(verifier="tests.longform.judges:contained")
    model = folder / "model"
    own = OwnConfig(paths=(str(path),))
    return config_of(run_dir, model if model.exists() else make_model(model), own=own, claims=judge, **longform)


def script(monkeypatch, config):
    """Lets the model write of true and false facts; returns the calls, (source, label, entities) each."""
    longform, calls = config.longform, []
    domains = make_domains(longform.domains) if longform.built_in else {}
    of = {entity.id: (domain, entity) for domain in domains.values() for entity in domain.entities}
    rows = [json.loads(line) for path in longform.own.paths for line in Path(path).read_text().splitlines()]
    references = {f"towns/{row['entity']}": row["reference"] for row in rows}

    def words(name, rng):
        if name in references:
            town = name.removeprefix("towns/")
            told = references[name].removesuffix(".").split(". ")
            changed = [f"{town} has {rng.integers(100, 999)} {one.split()[-1]}" for one in told]
            pairs = zip(told, changed, strict=True)
            return " ".join(f"{wrong if rng.random() < WRONG else one}." for one, wrong in pairs)
        domain, entity = of[name]
        facts = [
            (relation, str(rng.choice(domain.pools[relation])) if rng.random() < WRONG else value)
            for relation, value in entity.facts
        ]
        return domain.grammar.write(entity.name, facts, rng)

    def scripted(self, params, part, label):
        calls.append((self._source, label, tuple(self._names[index] for index in part)))
        made = []
        for name in calls[-1][2]:
            for number in self._draws:
                text = words(name, np.random.default_rng(id_words(f"{name}/{self._source}/{label}/{number}")))
                ids = "/".join(one for one in (name, self._source, label, str(number)) if one)
                made.append(Text(ids, name, self._source, number, text, len(text)))
        return made

    monkeypatch.setattr(Generator, "_texts", scripted)
    return calls
