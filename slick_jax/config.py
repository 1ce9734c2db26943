"""Every setting of slick_jax, as frozen dataclasses: the default, and one line that says what it does.

A config file starts from `defaults()`; `slick_jax.config_file.load_config` turns it into a `Config` and reports all of
its problems at once. The rules that go beyond a field's type are in `slick_jax.config_rules`.
"""

import dataclasses
from dataclasses import dataclass, field

import ml_collections


@dataclass(frozen=True)
class WorldConfig:
    """The dials of the built-in world of made-up facts."""

    seed: int = 0  # draws names, facts, exposures and documents
    facts_per_relation: int = 330  # facts of each in-distribution relation, all splits together
    relations: int = 12  # the first n of the 12 in-distribution relations
    ood_facts_per_relation: int = 150  # facts of each out-of-distribution relation
    ood_relations: int = 5  # the first n of the 5 out-of-distribution relations
    median_exposures: float = 22.0  # median number of times a fact is told in the corpus (strength of knowledge)
    row_tokens: int = 60  # tokens of a pretraining row; shorter than a 4-shot prompt makes knowledge prompt-sensitive
    vocab_size: int = 2000  # vocabulary of the BPE tokenizer trained on the corpus


@dataclass(frozen=True)
class DataConfig:
    """Where the question-answer examples come from."""

    kind: str = "rows"  # 'rows' (JSONL or Parquet), 'entity_questions' or 'world' (built in)
    path: str = ""  # rows: the file; entity_questions: dataset.zip or a folder; world: not used
    dev_path: str = ""  # rows only: the file exemplars are drawn from; empty: 64 rows of `path` serve as the pool
    splits: tuple[str, ...] = ()  # splits to annotate; empty: every split but the exemplar pools dev and ood_dev
    limit: int | None = None  # the first N rows of every split that is annotated; exemplar pools stay whole
    drop_shared_objects: bool = False  # entity_questions: drop train rows whose answer is a test answer, too
    world: WorldConfig = field(default_factory=WorldConfig)


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

    path: str = ""  # Hugging Face folder: config.json, *.safetensors, tokenizer.json
    dtype: str = "float32"  # compute type: 'float32' (hits are exact) or 'bfloat16'
    precision: str = "highest"  # matmul precision: 'highest', 'high' or 'default'
    scan_layers: bool = True  # one scanned layer body (compiles fast) or unrolled layers
    shape: ShapeConfig = field(default_factory=ShapeConfig)


@dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis; their product is the number of devices."""

    data: int = -1  # batch rows; -1: all devices the other axes leave
    fsdp: int = 1  # weights split along the embedding axis, gathered when used
    tensor: int = 1  # heads, mlp and vocabulary split


@dataclass(frozen=True)
class AnnotateConfig:
    """How P_Correct is measured (paper section 3 and appendix C)."""

    n_exemplar_sets: int = 10  # N_ex: exemplar sets per relation
    n_reserve_sets: int = 4  # spare sets a pool must at least give, for questions that a regular set would leak
    n_exemplars: int = 4  # k: question-answer pairs in a set
    n_samples: int = 16  # N_sample: sampled answers per question and set, besides the greedy one
    temperature: float = 0.5  # T of the sampled answers
    top_k: int = 40  # tokens kept at each step of a sampled answer
    max_answer_tokens: int = 32  # longest answer, its stop token included; a longer one is cut and wrong
    match: str = "squad"  # when an answer is right: 'squad', 'strict' or 'module:function'
    mode: str = "full"  # 'full', 'labels' (samples only where no greedy draw hit) or 'exact' (no sampling)
    exact_tolerance: float = 1e-3  # probability left unexpanded by the exact P_Correct, summed over a question's sets
    exact_pairs: tuple[tuple[float, int], ...] = ()  # further (temperature, top_k) with an exact P_Correct
    abstain_phrases: tuple[str, ...] = ("I don't know",)  # answers that count as abstaining
    seed: int = 0  # noise of the sampled answers
    exemplar_seed: int = 0  # draw of the exemplar sets
    part_size: int = 256  # examples per part file, the unit of resuming
    batch_rows: int = 320  # rows of one device batch, over all devices
    group_rows: int = 8  # rows of a batch that share one exemplar prefix; divides batch_rows


@dataclass(frozen=True)
class PretrainConfig:
    """Training the small model of the built-in world from scratch."""

    seed: int = 0  # initial weights
    rows_per_step: int = 17  # rows of data.world.row_tokens tokens in a step
    peak_lr: float = 3e-3  # learning rate after the warm-up
    warmup_steps: int = 100  # steps of linear warm-up
    final_lr_fraction: float = 0.1  # the cosine ends at this share of peak_lr
    weight_decay: float = 0.1  # AdamW decay, on matrices only
    b2: float = 0.95  # AdamW second-moment decay
    clip_norm: float = 1.0  # gradients are scaled down to this global norm
    max_steps: int | None = None  # None: one pass over the corpus
    checkpoint_every: int = 500  # steps between checkpoints


@dataclass(frozen=True)
class ExportConfig:
    """From a training checkpoint to a Hugging Face folder."""

    checkpoint: str = ""  # training checkpoint folder
    out: str = ""  # Hugging Face folder to write


@dataclass(frozen=True)
class Config:
    """All settings of one run."""

    run_dir: str = ""  # folder of everything the run writes
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    annotate: AnnotateConfig = field(default_factory=AnnotateConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    export: ExportConfig = field(default_factory=ExportConfig)


def defaults() -> ml_collections.ConfigDict:
    """The whole tree of settings with its defaults, for a config file to start from.

    It accepts any assignment: names and types are checked when the file has run, so that all mistakes come together.
    """
    return ml_collections.ConfigDict(dataclasses.asdict(Config()), type_safe=False, convert_dict=True)
