"""Which long texts to fine-tune your model on, measured on your own reference texts.

    slick longform --config=configs/longform_own.py

For a JSON lines file of {"entity": ..., "prompt": ..., "reference": ...} (docs/longform_texts.md). Every sentence is
one claim; set longform.claims.method="model" and longform.claims.model for claims that a second checkpoint words.
Claims are checked by a checkpoint that reads the five best passages of the reference. Cost: for N entities about 4 N
texts of the model (one sample, three more for consistency), one forward pass of the verifier for each distinct claim,
and a fine-tuning run and N / 5 answers for each of 7 arms. Expect wide intervals with fewer than 100 test entities, a
fifth of the file. LoRA on all linear layers; with train.lora.rank=0 all parameters are trained.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/longform_own"
    c.model.path = "models/base"  # the model under study: Hugging Face folder or hub id
    c.model.dtype = "bfloat16"
    c.longform.own.paths = ("data/biographies.jsonl",)
    c.longform.claims.verifier_model = "models/instruct"
    c.longform.p_true.examples = 8  # base models are not asked often

    t = c.train
    t.epochs, t.batch_size, t.peak_lr, t.schedule = 3, 32, 2e-4, "cosine"
    t.warmup_steps, t.dropout = 2, 0.0  # about 3 % of the steps
    t.max_target_tokens = 1024  # the longest reference
    t.lora.rank = 16
    return c
