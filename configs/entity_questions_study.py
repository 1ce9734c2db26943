"""The paper's own study: EntityQuestions, every mixture, 50 epochs at 1e-5, on a 7 B base model and one host of 8 H100.

    C=--config=configs/entity_questions_study.py
    slick validate $C && slick annotate $C --config.mesh.fsdp=1 && slick mix $C && slick study $C

Data as in configs/entity_questions.py (dataset.zip beside you; 98,029 questions, 81,700 of them to train on). The model
is OLMo 2 7B (allenai/OLMo-2-1124-7B, Apache-2.0); give another by --config.model.path. |D| is the sum over relations of
the smallest category, as in the paper, where it is 6,142. 13 mixtures x 3 seeds are 39 runs of 50 epochs.

Cost, by FLOPs. N = 7.3e9 parameters; a token costs 2 N to read and 6 N to train on. Counted with SmolLM2's tokenizer, a
row has 21 tokens with its answer (about 30 with padding), and a question about 13 behind what its relation shares.
  annotate   98,029 questions x 10 sets x about 20 tokens x 2 N      2.9e17, once
  training   6,142 rows x 30 tokens x 6 N x 50 epochs                4.0e17 a run
  questions  32,932 (train, dev, both tests) x 13 x 2 N x 50 epochs  3.1e17 a run
  all        39 runs, 9 of them smaller                              about 2.6e19
At 30 % of the 7.9e15 FLOP/s (bfloat16) of 8 H100 that is 3 hours. Disks take longer: a run saves its state (88 GB:
parameters and two moments in float32) after every epoch, 4.4 TB and 37 minutes at 2 GB/s, all 39 runs 172 TB and 24
hours; what stays is the checkpoint of EARLY_STOP, 3.4 TB of 39 runs. Adapters (train.lora.rank=16, docs/lora.md) make
both a hundredth. Memory: 117 GB of parameters, gradients and moments, 15 GB a device over fsdp=8, besides as much for
activations of the longest rows and working space. Further hosts take runs off the first one's hands: start the same
`slick study` on each, on a folder that they share.
"""

from slick_jax import config


def get_config():
    c = config.defaults()
    c.run_dir = "runs/entity_questions_study"
    c.data.kind, c.data.path = "entity_questions", "dataset.zip"
    c.model.path, c.model.dtype, c.model.precision = "allenai/OLMo-2-1124-7B", "bfloat16", "default"
    c.mesh.fsdp = 8
    c.annotate.p_true = True
    c.mix.size, c.mix.single_categories = "paper", True
    t = c.train
    t.epochs, t.peak_lr, t.batch_size, t.dropout = 50, 1e-5, 128, 0.05  # the paper's, and the defaults
    t.keep = ("best",)
    c.study.seeds = (0, 1, 2)
    return c
