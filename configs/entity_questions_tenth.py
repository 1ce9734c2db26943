"""configs/entity_questions_small.py at a tenth of the size: 5 M parameters, 11,700 facts, three mixtures, 2 CPU cores.

    slick demo --config=configs/entity_questions_tenth.py

Takes about 75 minutes, of which pretraining 45 and annotating 10; docs/findings.md tells what came out.
"""

import runpy
from pathlib import Path

SMALL = Path(__file__).with_name("entity_questions_small.py")


def get_config():
    c = runpy.run_path(str(SMALL))["get_config"]()
    c.run_dir = "runs/entity_questions_tenth"
    c.data.share = 0.1
    c.data.corpus.vocab_size = 8192
    c.model.dtype, c.model.precision = "float32", "highest"
    s = c.model.shape
    s.d_model, s.n_layers, s.n_heads, s.n_kv_heads, s.head_dim, s.d_mlp = 192, 8, 6, 6, 32, 512
    c.pretrain.rows_per_step, c.pretrain.peak_lr, c.pretrain.warmup_steps = 32, 2e-3, 100
    c.annotate.p_true = False
    c.mix.size, c.mix.percents, c.mix.known_only, c.mix.natural, c.mix.idk = "600", (0, 50, 100), False, False, False
    c.train.batch_size, c.train.peak_lr, c.train.epochs = 32, 1e-4, 24
    c.train.eval_train_epochs = c.train.eval_dev_epochs = "1-6,every 2,last"
    c.train.eval_test_epochs = "1-6,every 3,last"
    c.study.seeds = (0,)
    return c
