"""EntityQuestions as in the paper: 98,029 questions (train 81,700, test 10,481, out-of-distribution test 5,848).

    curl -O https://nlp.cs.princeton.edu/projects/entity-questions/dataset.zip
    slick data --config=configs/entity_questions.py
    slick annotate --config=configs/entity_questions.py --config.model.path=<Hugging Face folder>

`slick data` takes some seconds and ends with the counts of the paper's Tables 3 to 5, relation by relation, in
runs/entity_questions/data. `slick annotate` asks 170 answers of every question and resumes where it was stopped; try it
with `--config.data.splits=test --config.data.limit=200 --config.run_dir=runs/trial` first (other rows are another run).
The paper's PaLM 2-M ends with 23.9 % HighlyKnown, 25.3 % MaybeKnown, 16.9 % WeaklyKnown and 33.9 % Unknown of the train
rows (its Table 3; its text has 24, 23, 17 and 36 %). `data.path` may also be a folder of P*.<split>.json files or JSON
lines.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/entity_questions"
    c.data.kind = "entity_questions"
    c.data.path = "dataset.zip"
    return c
