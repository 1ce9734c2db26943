"""Annotations of a run compared with the reference process, draw by draw: some in `make test`, all in `make verify`."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slick_jax.data.tokenizer import Tokenizer
from slick_jax.models.transformer import Network
from slick_jax.models.weights import load_hf, read_spec
from tests.knowledge.reference import decode_draws, judge_text


@dataclass
class Model:
    """A checkpoint folder as the reference process needs it."""

    network: Network
    params: dict
    tokenizer: Tokenizer


def load_model(folder):
    """The checkpoint, without the engine."""
    network = Network(read_spec(folder), scan_layers=False)
    return Model(network, load_hf(folder, network), Tokenizer.from_folder(folder))


def prompts_of(row, exemplars):
    """The prompts of an annotation row, put together from exemplars.json by the paper's layout."""
    texts, known = [], exemplars[row["relation"]]
    own = row["exemplar_rows"] is not None  # each slot's set by the rows of the relation's pool
    for chosen in row["exemplar_rows"] if own else row["exemplar_sets"]:
        shots = [shot for number in chosen for shot in known[str(number)]] if own else known[str(chosen)]
        lines = [f"Q: {shot['question']}\nA: {shot['answer']}\n" for shot in shots]
        texts.append("".join(lines) + f"Q: {row['question']}\nA:")
    return texts


def reference_draws(model, prompts, identifier, n_samples=16, seed=0):
    """`decode_draws` with the paper's decoding."""
    tokenizer = model.tokenizer
    tokens = [tokenizer.encode(text) for text in prompts]
    stops, n_ids = tokenizer.is_stop, tokenizer.n_ids
    return decode_draws(model.network, model.params, tokens, identifier, seed, n_samples, 0.5, 40, 32, stops, n_ids)


def compare(run_dir, model, table, abstentions=("I don't know",)):
    """Decode every draw of `table`'s rows by the reference and compare hits, abstentions and truncations.

    Returns the figures: questions, draws, decisions, hits and differences per rule, smallest margin of any decision,
    and the list of differing draws.
    """
    exemplars = json.loads((run_dir / "exemplars.json").read_text())
    table_bytes, stops = model.tokenizer.token_bytes, model.tokenizer.is_stop
    figures = {"questions": 0, "draws": 0, "decisions": 0, "smallest_margin": np.inf, "strict_hits": 0, "hits": 0}
    differing = []
    for row in table.to_dict("records"):
        draws = reference_draws(model, prompts_of(row, exemplars), row["id"])
        figures["questions"] += 1
        for slot, slot_draws in enumerate(draws):
            for number, draw in enumerate(slot_draws):
                judged = judge_text(draw.path, table_bytes, stops, row["answers"], 32, abstentions)
                figures["draws"] += 1
                figures["decisions"] += draw.decisions
                figures["smallest_margin"] = min(figures["smallest_margin"], draw.margin)
                for prefix, hit in (("strict_", judged.strict), ("", judged.squad)):
                    figures[f"{prefix}hits"] += hit
                    stored = row[f"{prefix}{'sampled' if number else 'greedy'}_hits"][slot]
                    if bool(stored[number - 1] if number else stored) != hit:
                        differing.append((row["id"], slot, number, prefix, draw.margin))
        shares = [[judge_text(d.path, table_bytes, stops, row["answers"], 32, abstentions) for d in s] for s in draws]
        sampled = np.array([[judged.abstained for judged in slot[1:]] for slot in shares])
        if not np.isclose(sampled.mean(), row["abstained_sampled"]):
            differing.append((row["id"], "abstained", sampled.mean(), row["abstained_sampled"]))
    figures["differences"] = len(differing)
    return figures, differing


def exact_cells(run_dir, model, table, n_cells, n_draws):
    """p (exact P_Correct), unresolved rest and hits of n_draws fresh reference samples, for some (row, exemplar set).

    Half of the cells are taken where the exact P_Correct is neither near 0 nor near 1, so that most can be tested by z.
    """
    exemplars = json.loads((run_dir / "exemplars.json").read_text())
    rows = table.to_dict("records")
    cells = [(index, slot) for index, row in enumerate(rows) for slot in range(len(row["exact_by_set"]))]
    order = np.random.default_rng(0).permutation(len(cells))
    middling = [i for i in order if 0.02 < rows[cells[i][0]]["exact_by_set"][cells[i][1]] < 0.98]
    chosen = list(dict.fromkeys([*middling[: n_cells * 3 // 4], *order]))[:n_cells]
    found = []
    for i in chosen:
        row, slot = rows[cells[i][0]], cells[i][1]
        prompt = prompts_of(row, exemplars)[slot]
        (draws,) = reference_draws(model, [prompt], f"fresh {slot} {row['id']}", n_samples=n_draws, seed=1)
        hits = sum(
            judge_text(d.path, model.tokenizer.token_bytes, model.tokenizer.is_stop, row["answers"], 32).squad
            for d in draws[1:]
        )
        found.append((row["exact_by_set"][slot], row["exact_rest"] * len(row["exact_by_set"]), hits))
    return pd.DataFrame(found, columns=["p", "rest", "hits"])


def check_exact(cells, n_draws):
    """Assert the spec's conditions on `exact_cells` and return the figures."""
    expected, misses = cells["p"] * n_draws, (1 - cells["p"]) * n_draws
    tested = cells[(expected > 5) & (misses > 5)]
    z = (tested["hits"] - tested["p"] * n_draws) / np.sqrt(n_draws * tested["p"] * (1 - tested["p"]))
    others = cells.drop(tested.index)
    rare = others[others["p"] < 0.5]  # few hits expected: their sum is nearly Poisson
    common = others[others["p"] >= 0.5]  # few misses expected
    for low, high, seen in (
        ((rare["p"] * n_draws).sum(), ((rare["p"] + rare["rest"]) * n_draws).sum(), rare["hits"].sum()),
        (
            ((1 - common["p"] - common["rest"]).clip(0) * n_draws).sum(),
            ((1 - common["p"]) * n_draws).sum(),
            (n_draws - common["hits"]).sum(),
        ),
    ):
        assert low - 4.5 * np.sqrt(low + 1) <= seen <= high + 4.5 * np.sqrt(high + 1), (low, seen, high)
    assert (z.abs() < 4.5).all(), z.abs().max()
    return {"cells": len(cells), "tested": len(tested), "mean_z2": float((z**2).mean()), "max_z": float(z.abs().max())}
