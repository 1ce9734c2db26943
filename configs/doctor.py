"""Your rows and your model: what does it know of them, what to do about it, and the rows made ready for training.

    slick doctor --config=configs/doctor.py --config.model.path=<HF folder> --config.data.path=my_rows.jsonl --dry-run
    slick doctor --config=configs/doctor.py --config.model.path=<HF folder> --config.data.path=my_rows.jsonl

The first shows the prompt, the work and the time, and writes nothing; the second writes runs/doctor/doctor/index.html,
advice.md, summary.json and data/*.jsonl and *.parquet. A row is a JSON object with question and answer (or answers, a
list), and optionally id and relation; lines that cannot be asked are listed and left out. For 500 rows and a model of
a million parameters the first takes about two minutes of a CPU core, most of it to compile what the second then finds
compiled, and the second about 45 seconds; docs/doctor.md says what is measured.
An instruct model is asked in its own template with --config.annotate.prompt_style=chat.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/doctor"
    c.annotate.answers = "greedy"  # kept for the advice: near misses, cut answers
    return c
