"""Your own questions: what does a model know about each of them?

    slick annotate --config=configs/annotate_jsonl.py --config.data.path=my_rows.jsonl --config.model.path=<HF folder>

One JSON object per line (or a Parquet file): question, answer (or a list, answers), optionally id, relation, subject.
Every relation needs 7 rows or more for its exemplars (6 in a separate file of such rows, data.dev_path); without that
file 64 of your rows serve as exemplars for the others. `slick validate` with the same arguments shows the plan.
Writes runs/annotate_jsonl/annotations.parquet, a row per question with P_Correct and its category, and summary.json.
The cost is about that of reading every question 10 times, behind exemplars that are read once per relation.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/annotate_jsonl"
    return c
