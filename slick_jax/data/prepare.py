"""`slick data`: reads and checks the examples of a config, writes them as JSON lines or TFDS, and counts them."""

from __future__ import annotations

from collections import Counter

import pandas as pd
from etils import epath

from slick_jax.config import Config
from slick_jax.data.examples import SPLITS, Example, limited, load_splits, to_jsonl
from slick_jax.data.monofacts import monofacts
from slick_jax.files import run_folder


def run(config: Config) -> None:
    """Write <run_dir>/data/<split>.jsonl and summary.json, and print rows per relation and split, and monofact rates.

    A split without rows is left out. With `data.write_tfds` also a TFDS data set in <run_dir>/data/tfds.
    """
    splits = limited(load_splits(config.data), config.data)
    folder = epath.Path(config.run_dir) / "data"
    for name, examples in splits.items():
        run_folder.write_text(folder / f"{name}.jsonl", to_jsonl(examples))
    table = count_table(splits)
    rates = {name: monofacts(examples) for name, examples in splits.items()}
    counts = {
        name: {
            "rows": len(examples),
            "relations": table[name].to_dict(),
            "monofact_rates": rates[name].drop(columns="rows").to_dict("index"),
        }
        for name, examples in splits.items()
    }
    run_folder.write_json(
        folder / "summary.json", {"kind": config.data.kind, "path": config.data.path, "splits": counts}
    )
    print(table_text(splits))
    first = next(iter(splits))
    print(f"\nshare of the rows of {first} whose fact, and whose answer, comes only once in it (%):")
    print((rates[first].drop(columns="rows") * 100).round(1).to_string())
    print(f"\nwritten: {folder}/{{{','.join(splits)}}}.jsonl and summary.json")
    if config.data.write_tfds:
        from slick_jax.data.tfds_rows import write_tfds

        print(f"TFDS data set: {write_tfds(splits, folder / 'tfds')} (read it with data.kind='tfds')")


def count_table(splits: dict[str, list[Example]]) -> pd.DataFrame:
    """Rows by relation (index, in the order of first appearance) and split (columns)."""
    counts = {name: Counter(example.relation for example in splits[name]) for name in SPLITS if name in splits}
    relations = list(dict.fromkeys(relation for count in counts.values() for relation in count))
    rows = [[count[relation] for count in counts.values()] for relation in relations]
    return pd.DataFrame(rows, index=pd.Index(relations, name="relation"), columns=list(counts), dtype=int)


def table_text(splits: dict[str, list[Example]]) -> str:
    """`count_table` with a line of totals, for a terminal; a dash where a relation has no rows."""
    table = count_table(splits)
    table.loc["total"] = table.sum()
    return table.map(lambda count: f"{count:,}" if count else "-").to_string()
