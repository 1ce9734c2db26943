"""The paper's whole study on the built-in world: 13 mixtures with 3 seeds each, every table, figure and finding.

    slick demo --config=configs/demo_study.py

`make study` does the same. Takes about 45 minutes on 2 cores, two runs at a time with a core each: 2-3 minutes to
pretrain a 0.9 M parameter model, 2 to annotate with P(True), then 39 runs of 50 epochs, and 6 tuned models to annotate
again. Stop it at any time: the same command goes on from there. Further processes, here or on machines that share the
folder, take runs off its hands: `slick study` with the same config and --config.model.path=runs/demo_study/model. Files
go to runs/demo_study. |D| is the sum over relations of the smallest category, as in the paper: 324 examples, as many
as the single categories can fill. The rate is low enough for Unknown examples to be fitted over forty epochs, as in
the paper; with three times as much every run goes on overwriting what it knows after all is fitted.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/demo_study"
    c.data.kind = "world"
    c.data.world.ood_facts_per_relation = 300  # enough questions to tell what happens out of distribution
    c.model.scan_layers = False  # three layers run faster unrolled
    c.annotate.p_true = True
    c.mix.size, c.mix.single_categories = "paper", True
    t = c.train
    t.batch_size, t.peak_lr, t.warmup_steps, t.eps, t.dropout = 32, 3e-5, 10, 1e-6, 0.0
    t.eval_train_epochs = t.eval_dev_epochs = "1-20,every 2,last"
    t.eval_test_epochs = "1-12,every 4,last"
    s = c.study
    s.seeds, s.processes = (0, 1, 2), 2
    s.shift, s.shift_splits = ("unknown_0", "unknown_100"), ("test", "ood_test")
    return c
