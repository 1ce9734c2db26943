"""Settings with which every stage runs in seconds on a tiny model, in many small files.

slick annotate --config=tests/torture/tiny.py --config.run_dir=<folder> --config.model.path=<folder> ...
"""

from slick_jax.config import defaults


def get_config():
    c = defaults()
    c.model.scan_layers = False
    c.annotate.part_size = 4
    c.annotate.batch_tokens = 512
    c.annotate.n_exemplar_sets = 3
    c.annotate.n_reserve_sets = 1
    c.annotate.n_exemplars = 2
    c.annotate.n_samples = 4
    c.annotate.max_answer_tokens = 12
    c.distributed.silence = 4

    t = c.train
    t.epochs, t.batch_size, t.peak_lr, t.warmup_steps, t.dropout = 2, 4, 3e-3, 3, 0.1
    t.max_target_tokens = 12

    long = c.longform
    long.own.shares = (0.3, 0.3, 0.2, 0.2)
    long.arms = ("GOLD", "GEN+SELF")
    long.scorers = ("probe", "logprob")
    long.write.max_tokens = 48
    long.write.exemplars = 1
    long.write.rows = 8
    long.claims.verifier = "tests.torture.judge:contained_or_even"
    long.probe.strengths = (0.1,)
    long.filter.rule = "share"
    long.filter.tolerance = 0.3
    long.draws = 100
    return c
