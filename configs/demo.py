"""The whole way on 2 CPU cores: a made-up world, a small model that read about it, what it knows, what training does.

    slick demo --config=configs/demo.py

Takes 9 to 12 minutes on 2 cores: 2-3 to pretrain a 0.9 M parameter model on 2 million tokens, one to annotate,
the rest to fine-tune on four mixtures (0, 50 and 100 % Unknown, and the Known half of the 50 %). Expect HighlyKnown,
MaybeKnown, WeaklyKnown and Unknown at about 30, 20, 18 and 32 % of the train rows (24, 25, 17, 34 % in Table 3 of the
paper), Unknown examples fitted last, and test accuracy that falls with their share. Files go to runs/demo. The world is
built so that prompts matter: its rows are shorter than a 4-shot prompt, a stand-in for prompt sensitivity.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/demo"
    c.data.kind = "world"
    c.data.world.ood_facts_per_relation = 300  # the world of configs/demo_study.py
    c.model.scan_layers = False  # three layers run faster unrolled
    c.mix.size, c.mix.percents = "400", (0, 50, 100)
    c.mix.natural = c.mix.idk = False
    t = c.train
    t.batch_size, t.peak_lr, t.warmup_steps, t.eps, t.dropout = 32, 3e-5, 10, 1e-6, 0.0
    t.eval_test_epochs = "1-12,every 4,last"
    return c
