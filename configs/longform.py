"""Which long texts to fine-tune on, in three built-in domains and on 2 CPU cores: every arm, with one seed.

    slick longform --config=configs/longform.py

A small model reads a corpus of biographies, plots and medical leaflets, which tells some facts often, some once and
some wrongly, and learns to write such texts, wrong in part. It is then fine-tuned on reference texts or on its own,
filtered by truth, by its own belief, or at random: 29 models, which are 7 arms in 3 domains, and in biographies 2
more seeds of 4 arms. Meant to take under 40 minutes on 2 cores, a third of it to pretrain. Files go to runs/longform;
the page is runs/longform/longform/report/index.html. The report says itself whether the study is valid (95 % of the
generated sentences parse, precision of BASE is 35-85 %, 20-90 % of the claims are believed) and which orderings hold.
`make longform-full` runs every arm in every domain with three seeds.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/longform"
    c.model.scan_layers = False  # three layers run faster unrolled
    c.data.corpus.row_tokens = 320  # two examples and a text
    c.data.corpus.vocab_size = 4000  # every word is one token
    c.pretrain.rows_per_step, c.pretrain.peak_lr, c.pretrain.final_lr_fraction = 3, 3e-3, 0.02

    f = c.longform
    f.more_seeds, f.more_domains = (1, 2), ("biographies",)
    f.more_arms = ("GOLD", "GOLD+SELF", "GEN+GOLD", "GEN+SELF")
    f.resamples, f.filter.scorer = 4, "consistency"  # AUROC 0.82; three layers hold little of truth: probe 0.6
    f.write.exemplars, f.write.max_tokens, f.write.rows = 3, 160, 384
    f.write.temperature = 0.7  # a model of a million parameters writes no sentences at 1

    t = c.train
    t.epochs, t.batch_size, t.peak_lr, t.schedule, t.warmup_steps = 3, 16, 3e-4, "cosine", 2
    t.eps, t.dropout, t.max_target_tokens = 1e-6, 0.0, 256
    return c
