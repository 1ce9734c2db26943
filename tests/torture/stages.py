"""The stages under torture: tiny models and rows, the command lines, and what their run folders need beforehand."""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from slick_jax.data.corpus_tokens import train_tokenizer
from slick_jax.data.examples import to_jsonl
from slick_jax.data.mix import content_digest
from slick_jax.models.spec import ModelSpec
from slick_jax.models.transformer import Network
from slick_jax.models.weights import save_hf
from tests.longform.test_real_text import ROWS as BIOGRAPHIES
from tests.longform.test_real_text import make_model as make_writer
from tests.training.fine_tuning import mixture_rows, world, write_mixture

CONFIG = Path(__file__).with_name("tiny.py")
MIXTURES = {"mixed": 24, "few": 12}  # rows of each


@dataclass(frozen=True)
class Stage:
    """One command on `processes` processes.

    settings: of the config, besides run_dir; prepare: fills a fresh run folder; together: whether the processes are one
    job of jax.distributed, in place of several that share the run folder.
    """

    name: str
    command: str
    settings: Mapping[str, Any]
    prepare: Callable[[Path], None] = lambda run_dir: None
    processes: int = 1
    together: bool = False

    def command_lines(self, run_dir: Path, **more: Any) -> list[list[str]]:
        """Arguments of `slick`, for each process of one attempt; `more` settings count before the stage's own."""
        settings = {"run_dir": run_dir, **self.settings} | {name.replace("__", "."): to for name, to in more.items()}
        lines = [[self.command, f"--config={CONFIG}", *flags(settings)] for _ in range(self.processes)]
        if self.together:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{free.getsockname()[1]}"
            for index, line in enumerate(lines):
                place = {"coordinator": address, "process_count": self.processes, "process_index": index}
                line += flags({f"distributed.{name}": value for name, value in place.items()})
        return lines

    def twice(self) -> Stage:
        """The same command started a second time, by somebody else."""
        return dataclasses.replace(self, processes=2, together=False)


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as overrides of the command line."""
    return [f"--config.{name}={value}" for name, value in settings.items()]


def make_ground(folder: Path) -> Path:
    """Models and rows that no stage changes."""
    folder.mkdir(parents=True, exist_ok=True)
    _make_model(folder / "model")
    rows = {"rows": world().splits["train"][:40], "dev": _few_of_each_relation(world().splits["dev"], 7)}
    for name, chosen in rows.items():
        (folder / f"{name}.jsonl").write_text(to_jsonl(chosen))
    (folder / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in BIOGRAPHIES[:20]))
    make_writer(folder / "writer", "gemma2", 4.0)
    return folder


def _make_model(folder: Path) -> None:
    """Random weights of the least shape, and a tokenizer of the world's texts."""
    tokenizer = train_tokenizer(world(), 500)
    tokenizer.save(folder)
    spec = ModelSpec(
        vocab_size=tokenizer.size, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_mlp=16,
        max_position_embeddings=128,
    )  # fmt: skip
    network, (eos,) = Network(spec, scan_layers=False), tokenizer.eos_ids
    params = network.init(jax.random.key(1))
    ends = {"bos_token_id": eos, "eos_token_id": eos}
    save_hf(folder, network, params, tokenizer_folder=folder, extra_config=ends)


def _few_of_each_relation(rows, n):
    seen: dict[str, int] = {}
    for row in rows:
        seen[row.relation] = seen.get(row.relation, 0) + 1
        if seen[row.relation] <= n:
            yield row


def stages(ground: Path) -> dict[str, Stage]:
    """By name. ground: of `make_ground`."""
    model = {"model.path": ground / "model"}
    asked = model | {"data.path": ground / "rows.jsonl", "data.dev_path": ground / "dev.jsonl"}
    texts = {"model.path": ground / "writer", "longform.own.paths": ground / "people.jsonl"}
    long = texts | {"train.max_target_tokens": 400, "train.epochs": 1, "train.dropout": 0.0}
    made = (
        Stage("annotate", "annotate", asked),
        Stage("train", "train", asked | {"train.variant": "mixed"}, write_mixtures),
        Stage("longform", "longform", long),
        Stage("longform, up to beliefs", "longform-beliefs", long),
        Stage("annotate, 2 processes", "annotate", asked, processes=2, together=True),
        Stage("study, 2 processes", "study", asked | {"train.epochs": 2}, write_mixtures, processes=2),
    )
    return {stage.name: stage for stage in made}


def write_mixtures(run_dir: Path) -> None:
    """Two mixtures with their manifest."""
    variants = {}
    for name, n in MIXTURES.items():
        rows = mixture_rows(n)
        write_mixture(run_dir, rows, name)
        variants[name] = {"n": n, "sha256": content_digest((row["id"], row["answer"]) for row in rows)}
    (run_dir / "mixtures" / "manifest.json").write_text(json.dumps({"variants": variants}))
