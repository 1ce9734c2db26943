"""What fine-tuning all of Llama-3-8B takes on one host of 8 H100, without its weights.

    slick plan --config=configs/plan_8b_h100.py

Under a minute on 2 CPU cores. Other models: --config.plan.model=<folder with a config.json, or hub id>; other devices:
--config.plan.device=h200, or --config.plan.topology=v5p:2x2x2, compiled for that slice. Everything that is set here is
a setting of `slick train`, so the same file trains, given --config.model.path and a mixture.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.model.dtype, c.model.precision = "bfloat16", "default"
    c.mesh.fsdp = 8
    c.train.batch_size = 128
    c.plan.model = "configs/shapes/llama-3-8b"
    c.plan.device, c.plan.devices = "h100", 8
    c.plan.stages = ("train",)
    return c
