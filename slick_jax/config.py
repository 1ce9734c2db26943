"""Every setting of slick_jax, as frozen dataclasses: the default, and one line that says what it does. The sections
`doctor`, `longform` and `plan` are in slick_jax/settings.

A config file starts from `defaults()`; `slick_jax.settings.config_file.load_config` turns it into a `Config` and
reports all of its problems at once. The rules that go beyond a field's type are in `slick_jax.settings.rules`.
"""

import dataclasses
from dataclasses import dataclass, field

import ml_collections

from slick_jax.settings.doctor import DoctorConfig
from slick_jax.settings.longform import LongformConfig
from slick_jax.settings.plan import PlanConfig


@dataclass(frozen=True)
class WorldConfig:
    """The dials of the built-in world of made-up facts."""

    seed: int = 0  # names, facts, how often they are told, and the documents
    facts_per_relation: int = 330  # facts of each in-distribution relation, all splits together
    relations: int = 12  # the first n of the 12 in-distribution relations
    ood_facts_per_relation: int = 150  # facts of each out-of-distribution relation
    ood_relations: int = 5  # the first n of the 5 out-of-distribution relations


@dataclass(frozen=True)
class CorpusConfig:
    """The text that tells the facts of `data` to a model made by `slick pretrain`."""

    seed: int = 0  # how often facts are told, and the documents; those of the built-in world hang on data.world.seed
    median_exposures: float = 22.0  # median number of times a fact is told in the corpus (strength of knowledge)
    row_tokens: int = 60  # tokens of a pretraining row; shorter than a 4-shot prompt makes knowledge prompt-sensitive
    vocab_size: int = 2000  # vocabulary of the BPE tokenizer trained on the corpus


@dataclass(frozen=True)
class DataConfig:
    """Where the question-answer examples come from."""

    kind: str = "rows"  # 'rows' (JSONL or Parquet), 'tfds', 'entity_questions' or 'world' (built in)
    path: str = ""  # rows: the file; tfds: its folder; entity_questions: dataset.zip or a folder; world: not used
    dev_path: str = ""  # rows only: the file exemplars are drawn from; empty: 64 rows of `path` serve as the pool
    test_path: str = ""  # rows only: the file of the questions that the report asks, split 'test'; empty: none
    splits: tuple[str, ...] = ()  # splits to annotate; empty: every split but the exemplar pools dev and ood_dev
    limit: int | None = None  # the first N rows of every split that is annotated; exemplar pools stay whole
    drop_shared_objects: bool = False  # entity_questions: drop train rows whose answer is a test answer, too
    write_tfds: bool = False  # `slick data`: also write the examples as a TFDS data set, for kind 'tfds' and Grain
    share: float = 1.0  # of the rows of every relation and split, evenly spread; exemplar pools keep 100 of a relation
    world: WorldConfig = field(default_factory=WorldConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)


@dataclass(frozen=True)
class ShapeConfig:
    """Shape of a fresh model (Llama family); a checkpoint brings its own in config.json."""

    d_model: int = 128  # width of the residual stream
    n_layers: int = 3  # decoder blocks
    n_heads: int = 4  # query heads
    n_kv_heads: int = 4  # key and value heads; divides n_heads
    head_dim: int = 32  # width of one head; even, for rotary positions
    d_mlp: int = 384  # width of the SwiGLU layer
    rope_theta: float = 10000.0  # base of the rotary frequencies
    norm_eps: float = 1e-5  # epsilon of RMSNorm
    tie_embeddings: bool = True  # the output layer is the transposed embedding


@dataclass(frozen=True)
class ModelConfig:
    """Which model, and in which arithmetic it runs."""

    path: str = ""  # Hugging Face folder (config.json, *.safetensors, tokenizer), or hub id: org/name[@revision]
    source: str = ""  # filled in for a hub id: org/name@commit
    dtype: str = "float32"  # compute type: 'float32' (hits are exact) or 'bfloat16'
    weights: str = ""  # how `slick annotate` holds the weights: '' as dtype, 'bfloat16', or 'int8' (kernels in 8 bits)
    precision: str = "highest"  # matmul precision: 'highest', 'high' or 'default'
    scan_layers: bool = True  # one scanned layer body (compiles fast) or unrolled layers
    shape: ShapeConfig = field(default_factory=ShapeConfig)

    @property
    def exact(self) -> bool:
        """Whether the arithmetic is precise enough that no near-tie falls with the shapes that are computed."""
        return self.dtype == "float32" and self.precision == "highest"


@dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis; their product is the number of devices, of all processes together."""

    data: int = -1  # batch rows; -1: all devices the other axes leave
    fsdp: int = 1  # weights split along the embedding axis, gathered when used
    tensor: int = 1  # heads, mlp and vocabulary split


@dataclass(frozen=True)
class DistributedConfig:
    """Several processes of one command (docs/scaling.md); those of TPU pods, srun and mpirun find each other."""

    coordinator: str = ""  # host:port of process 0, where no cluster says it
    process_count: int | None = None  # processes in all, with coordinator
    process_index: int | None = None  # number of this one, from 0, with coordinator
    cluster: str = "auto"  # 'auto' (join the processes of a TPU pod, srun or mpirun) or 'none' (work alone)
    silence: int = 40  # seconds without a sign of life after which another process counts as dead


@dataclass(frozen=True)
class AnnotateConfig:
    """How P_Correct is measured (paper section 3 and appendix C)."""

    n_exemplar_sets: int = 10  # N_ex: exemplar sets per relation
    n_reserve_sets: int = 4  # spare sets a pool must at least give, for questions that a regular set would leak
    n_exemplars: int = 4  # k: question-answer pairs in a set
    exemplars: str = "per_relation"  # sets shared by a relation's questions, or drawn anew 'per_question' (costs more)
    n_samples: int = 16  # N_sample: sampled answers per question and set, besides the greedy one
    temperature: float = 0.5  # T of the sampled answers
    top_k: int = 40  # tokens kept at each step of a sampled answer
    max_answer_tokens: int = 32  # longest answer, its stop token included; a longer one is cut and wrong
    prompt_style: str = "qa"  # 'qa' (plain Q: and A: lines) or 'chat' (the model's chat template); in training, too
    chat_options: tuple[str, ...] = ()  # variables of the chat template, such as 'enable_thinking=false'
    match: str = "squad"  # when an answer is right: 'squad', 'strict' or 'module:function'
    mode: str = "full"  # 'full', 'labels' (samples only where no greedy draw hit) or 'exact' (no sampling)
    exact_tolerance: float = 1e-3  # probability left unexpanded by the exact P_Correct, summed over a question's sets
    exact_pairs: tuple[tuple[float, int], ...] = ()  # further (temperature, top_k) with an exact P_Correct
    p_true: bool = False  # also P(True): how likely the model calls the first gold answer true (docs/how_it_works.md)
    answers: str = "none"  # texts kept in samples/: 'none', 'greedy' or 'all' (docs/answers.md has what they cost)
    abstain_phrases: tuple[str, ...] = ("I don't know",)  # answers that count as abstaining
    seed: int = 0  # noise of the sampled answers
    exemplar_seed: int = 0  # draw of the exemplar sets
    part_size: int = 256  # examples per part file, the unit of resuming
    kept_gib: float | None = None  # GiB a device, for questions between rounds; None: half of what weights leave
    batch_tokens: int = 0  # tokens of one device batch, per slice of the mesh; 0: what the kind of device is fast at
    answer_rows: int = 4096  # answers decoded together, over all devices, where they are kept

    @property
    def drawn_samples(self) -> int:
        """Samples that are drawn per question and set at most: none in mode 'exact'."""
        return 0 if self.mode == "exact" else self.n_samples

    @property
    def draws(self) -> int:
        """Answers to a question at most, over all sets."""
        return self.n_exemplar_sets * (1 + self.drawn_samples)


# Settings of annotate that no label hangs on: what is kept beside the labels, and what is computed together, which can
# decide a near-tie below exact arithmetic (`ModelConfig.exact`).
BESIDE_LABELS = ("answers", "answer_rows", "p_true")
SHAPES = ("part_size", "batch_tokens", "kept_gib")


@dataclass(frozen=True)
class PretrainConfig:
    """Training a small model from scratch on the corpus that tells the facts of `data`."""

    seed: int = 0  # initial weights
    rows_per_step: int = 17  # rows of data.corpus.row_tokens tokens in a step
    peak_lr: float = 3e-3  # learning rate after the warm-up
    warmup_steps: int = 100  # steps of linear warm-up
    final_lr_fraction: float = 0.1  # the cosine ends at this share of peak_lr
    weight_decay: float = 0.1  # AdamW decay, on matrices only
    b2: float = 0.95  # AdamW second-moment decay
    clip_norm: float = 1.0  # gradients are scaled down to this global norm
    max_steps: int | None = None  # None: one pass over the corpus
    checkpoint_every: int = 500  # steps between checkpoints


@dataclass(frozen=True)
class MixConfig:
    """Controlled mixtures of Known and Unknown examples (paper section 4 and appendix E)."""

    size: str = "known_unknown"  # |D|: 'paper', 'known_unknown' or a whole number such as '400'
    percents: tuple[int, ...] = (0, 25, 50, 75, 100)  # X: percent of Unknown within every relation
    known_only: bool = True  # also D_Known, without the Unknown examples, for X between 0 and 100 (both excluded)
    single_categories: bool = False  # also a variant of each category alone; size 'paper' has enough of each
    natural: bool = True  # also D_Natural, with the data's own shares of categories
    idk: bool = True  # also D_IDK: the 50 % variant with idk_text as the answer of its Unknown examples
    idk_text: str = "I don't know"  # the answer that D_IDK teaches
    split: str = "train"  # split that the mixtures are drawn from
    seed: int = 0  # the permutation of every relation
    rule: str = ""  # whose categories: '' those of annotate.match, 'strict_' those of strict match
    recipes: tuple[str, ...] = ()  # further mixtures by name, such as sure_50,patch_90 (docs/study.md)
    sure_text: str = "I am sure."  # sure_<X>: what follows the answer of Known examples (R-Tuning)
    unsure_text: str = "I am unsure."  # sure_<X>: what follows the answer of Unknown examples
    patch_percent: float = 10.0  # patch_<X>: percent of D, all Known, that every epoch ends with, in order
    replay_path: str = ""  # replay_<X>: JSONL or Parquet file of unrelated rows, prompt and completion or text
    replay_per_fact: int = 2  # replay_<X>: unrelated rows for every example of D
    upweight_percent: float = 5.0  # upweight_<X>: percent of D that comes several times in an epoch
    upweight_times: int = 10  # upweight_<X>: how often
    gradual_replay: float = 0.2  # `slick gradual`: HighlyKnown examples for every promoted one in the second stage


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters, trained in place of the model's own parameters (docs/lora.md)."""

    rank: int = 0  # rank of every adapter; 0: no LoRA, all parameters are trained
    alpha: float = 16.0  # adapters are scaled by alpha / rank
    dropout: float = 0.0  # on what goes into the adapters
    targets: tuple[str, ...] = ()  # linear maps to adapt, such as q_proj,v_proj; empty: all of attention and MLP
    rslora: bool = False  # scale by alpha / sqrt(rank) instead (rsLoRA)
    base_dtype: str = "float32"  # in which the frozen parameters are held: 'float32' or 'bfloat16'


@dataclass(frozen=True)
class TrainConfig:
    """Fine-tuning on one mixture (paper appendix E)."""

    variant: str = ""  # a mixture of this run, mixtures/<variant>.jsonl
    mixture: str = ""  # in place of a variant: a JSONL or Parquet file with prompt and completion, or a TFDS folder
    epochs: int = 50  # passes over the mixture; CONVERGENCE is the last one
    batch_size: int = 128  # examples of an update, over all devices
    optimizer: str = "adamw"  # 'adamw' or 'adafactor'
    peak_lr: float = 1e-5  # learning rate after the warm-up
    schedule: str = "constant"  # 'constant' or 'cosine' (to 0 at the last step)
    warmup_steps: int = 0  # steps of linear warm-up
    weight_decay: float = 0.0  # on matrices only
    b2: float = 0.999  # AdamW second-moment decay
    eps: float = 1e-8  # AdamW epsilon
    clip_norm: float = 1.0  # gradients are scaled down to this global norm; 0: never
    accumulate: int = 1  # parts that a batch is computed in, to save memory; divides batch_size
    remat: str = "none"  # layer values computed again instead of kept: 'none', 'dots' (all but matmuls) or 'full'
    dropout: float = 0.05  # on the residual branches
    seed: int = 0  # order of the examples and dropout
    eval_train_epochs: str = "all"  # epochs after which train rows are asked: 'all', 'none', '1-12,every 4,last'
    eval_dev_epochs: str = "all"  # the same for dev; EARLY_STOP is the best of them
    eval_test_epochs: str = "all"  # the same for test and ood_test
    keep: tuple[str, ...] = ("best", "last")  # checkpoints that stay when the run is over: 'best' (on dev), 'last'
    keep_every: int = 0  # and those of every k-th epoch; 0: none
    max_target_tokens: int = 32  # longest answer with its end-of-text, in training and in greedy evaluation
    max_replay_tokens: int = 64  # a replayed row is cut behind so many trained tokens
    writers: tuple[str, ...] = ()  # besides metrics.jsonl: 'tensorboard', 'wandb' (the extras of these names)
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass(frozen=True)
class EvaluateConfig:
    """Greedy exact match of a model, asked without exemplars."""

    checkpoint: str = ""  # Hugging Face folder or hub id, or checkpoints/ of a run, or a step in it; '': model.path
    splits: tuple[str, ...] = ()  # splits to ask; empty: dev, test and ood_test, as far as they are there


@dataclass(frozen=True)
class StudyConfig:
    """Which fine-tuning runs make up a study."""

    variants: tuple[str, ...] = ()  # mixtures to train on; empty: all that were mixed
    seeds: tuple[int, ...] = (0,)  # a run per variant and seed
    shard: str = ""  # 'i/n', i from 0: train share i of n alone, also as --shard=i/n; '': all runs
    processes: int = 1  # started here side by side, each with a share of the CPU's cores (docs/study.md)
    shift: tuple[str, ...] = ()  # variants whose tuned models are annotated again; 'all': every one
    shift_stops: tuple[str, ...] = ("CONVERGENCE",)  # when: 'EARLY_STOP', 'CONVERGENCE' or both
    shift_splits: tuple[str, ...] = ()  # rows to annotate again; empty: those of data.splits


@dataclass(frozen=True)
class ExportConfig:
    """From a training checkpoint to a Hugging Face folder."""

    checkpoint: str = ""  # checkpoints/ of a training run (its newest), or the folder of a step in it
    out: str = ""  # Hugging Face folder to write
    lora: str = "merged"  # of a LoRA checkpoint: 'merged' (a whole model) or 'adapter' (a PEFT folder)


@dataclass(frozen=True)
class RescoreConfig:
    """Hits and categories by another match rule (annotate.match), from kept answers."""

    source: str = ""  # run folder that was annotated with annotate.answers='all'


@dataclass(frozen=True)
class ValidateConfig:
    """What `slick validate` checks for."""

    command: str = ""  # a command such as 'study', also as --for=study; '': those that the config is set up for


@dataclass(frozen=True)
class Config:
    """All settings of one run."""

    run_dir: str = ""  # folder of everything the run writes, also gs://bucket/folder (docs/storage.md)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    annotate: AnnotateConfig = field(default_factory=AnnotateConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    rescore: RescoreConfig = field(default_factory=RescoreConfig)
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    longform: LongformConfig = field(default_factory=LongformConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    doctor: DoctorConfig = field(default_factory=DoctorConfig)


def defaults() -> ml_collections.ConfigDict:
    """The whole tree of settings with its defaults, for a config file to start from.

    It accepts any assignment: names and types are checked when the file has run, so that all mistakes come together.
    """
    return ml_collections.ConfigDict(dataclasses.asdict(Config()), type_safe=False, convert_dict=True)
