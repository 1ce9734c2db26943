"""The study on real names: a model of 97 M parameters reads the facts of EntityQuestions, then the paper's mixtures.

    slick demo --config=configs/entity_questions_small.py

For one GPU; data as in configs/entity_questions.py (dataset.zip beside you). The facts of its 114,337 rows (all splits)
are told with graded exposure, as in the built-in world: 22 % never, the others log-normally often, a fifth of them with
a wrong rival, in three sentences a relation and as questions. What the model knows is thereby known to the study:
categories by exposure are printed after `annotate`. It takes every mixture with three seeds; for the three that show
most, `--config.study.variants=unknown_0,unknown_50,unknown_100 --config.study.seeds=0,`.
configs/entity_questions_tenth.py is the same at a tenth of the size, for 2 CPU cores.

Cost, by FLOPs. N = 9.7e7 parameters; a token costs 2 N to read and 6 N to train on.
  pretrain   about 40 million tokens x 6 N                         2.4e16
  annotate   98,029 questions x 10 sets x about 17 tokens x 2 N    3.2e15
  a run      6,000 rows x 25 tokens x 6 N x 50 epochs              4.4e15
  its asking 33,000 questions x 13 tokens x 2 N x 30 epochs        2.5e15
At 20 % of an H200's 9.9e14 FLOP/s (bfloat16) that is 2 minutes, half a minute, and half a minute a run.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/entity_questions_small"
    c.data.kind, c.data.path = "entity_questions", "dataset.zip"
    c.data.corpus.median_exposures = 16.0
    c.data.corpus.row_tokens = 72  # a 4-shot prompt has about 90
    c.data.corpus.vocab_size = 16384
    c.model.dtype, c.model.precision, c.model.scan_layers = "bfloat16", "default", False
    s = c.model.shape
    s.d_model, s.n_layers, s.n_heads, s.n_kv_heads, s.head_dim, s.d_mlp = 768, 12, 12, 12, 64, 2048
    c.pretrain.rows_per_step, c.pretrain.peak_lr, c.pretrain.warmup_steps = 96, 1e-3, 300
    c.annotate.p_true = True
    c.mix.size = "paper"
    t = c.train
    t.batch_size, t.peak_lr, t.warmup_steps, t.dropout = 128, 5e-5, 10, 0.05
    t.eval_train_epochs = t.eval_dev_epochs = "1-20,every 2,last"
    t.eval_test_epochs = "1-12,every 4,last"
    c.study.seeds = (0, 1, 2)
    return c
