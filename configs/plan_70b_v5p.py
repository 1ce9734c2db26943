"""What annotating with Llama-3-70B takes on 256 chips of TPU v5p, from programs compiled for it, without weights.

    slick plan --config=configs/plan_70b_v5p.py

Needs the extra tpu (libtpu compiles for a described slice; no TPU is there). Under three minutes on 2 CPU cores. Two
chips hold the weights in bfloat16 (mesh.tensor=2), and the four of a host are a team with parts of its own: programs
are compiled for such a team. Give --config.data.kind=entity_questions --config.data.path=dataset.zip, and a folder with
a tokenizer as plan.model, to count real questions.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.model.dtype, c.model.precision = "bfloat16", "default"
    c.mesh.tensor = 2
    c.plan.model = "configs/shapes/llama-3-70b"
    c.plan.topology = "v5p:8x8x4"
    c.plan.rows = 98_029  # all questions of EntityQuestions
    c.plan.stages = ("annotate",)
    return c
