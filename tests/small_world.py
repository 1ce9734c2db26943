"""A world small enough for tests: pretrained in seconds, all four knowledge categories in it.

slick pretrain --config=tests/small_world.py --config.run_dir=<folder>
"""

from slick_jax.config import defaults


def get_config():
    config = defaults()
    config.data.kind = "world"
    config.data.world.relations = 4
    config.data.world.facts_per_relation = 120
    config.data.world.ood_relations = 1
    config.data.world.ood_facts_per_relation = 60
    config.data.corpus.median_exposures = 30.0
    config.data.corpus.vocab_size = 1000
    config.pretrain.rows_per_step = 8
    config.model.scan_layers = False
    config.annotate.part_size = 32
    config.annotate.batch_tokens = 512  # so that calls are of one size, and half as many programs are compiled
    config.annotate.p_true = True
    return config
