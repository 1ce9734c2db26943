"""Your rows and your model: what does it know of them, what to do about it, and the rows made ready for training.

    slick doctor --config=configs/doctor.py --config.model.path=<HF folder> --config.data.path=my_rows.jsonl --dry-run
    slick doctor --config=configs/doctor.py --config.model.path=<HF folder> --config.data.path=my_rows.jsonl

The first shows the prompt, the work and the time, and writes nothing; the second writes runs/doctor/doctor/index.html,
advice.md, summary.json and data/*.jsonl and *.parquet. A row is a JSON object with question and answer (or answers, a
list), and optionally id and relation; lines that cannot be asked are listed and left out. 500 rows and a model of a
million parameters take under a minute on 2 CPU cores, most of it to compile; docs/doctor.md has what each part costs.
An instruct model is asked in its own template with --config.annotate.prompt_style=chat.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/doctor"
    c.annotate.answers = "greedy"  # kept for the advice: near misses, cut answers
    return c
