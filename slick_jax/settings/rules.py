"""What a config must satisfy beyond names and types: ranges, choices, settings that belong together."""

from collections.abc import Iterator
from dataclasses import fields

from slick_jax.commands import COMMANDS
from slick_jax.config import (
    AnnotateConfig,
    Config,
    CorpusConfig,
    DataConfig,
    DistributedConfig,
    EvaluateConfig,
    ExportConfig,
    LoraConfig,
    MeshConfig,
    MixConfig,
    ModelConfig,
    PretrainConfig,
    TrainConfig,
    WorldConfig,
)
from slick_jax.data import recipes
from slick_jax.epochs import MAX_EPOCHS, parse_epochs
from slick_jax.knowledge.exemplars import MAX_SETS
from slick_jax.knowledge.match import RULES
from slick_jax.processes import shards
from slick_jax.settings import doctor, longform_rules, plan
from slick_jax.settings.checks import above_zero, at_least, between, choice, seed
from slick_jax.settings.needs import needs

SPLITS_OF_KIND = {
    "rows": ("train", "dev", "test"),
    "tfds": ("train", "dev", "test", "ood_dev", "ood_test"),
    "entity_questions": ("train", "dev", "test", "ood_dev", "ood_test"),
    "world": ("train", "dev", "test", "ood_dev", "ood_test"),
}
KINDS = tuple(SPLITS_OF_KIND)
KEPT_FOR = {"EARLY_STOP": "best", "CONVERGENCE": "last"}  # the entry of train.keep with its checkpoint


def problems(config: Config, command: str = "") -> list[str]:
    """Everything wrong with `config`, one line each, as `config.<setting>: <value and what is allowed>`.

    `command` adds what that command needs: settings that must not be empty and files that must exist.
    """
    found = [
        *_data(config.data),
        *_world(config.data.world),
        *_corpus(config.data.corpus),
        *_model(config.model),
        *_mesh(config.mesh),
        *_distributed(config.distributed),
        *_annotate(config.annotate),
        *_pretrain(config.pretrain),
        *_mix(config.mix),
        *_train(config.train),
        *_lora(config.train.lora),
        *_export(config.export),
        *_evaluate(config.evaluate, config.data.kind),
        *_study(config),
        *longform_rules.problems(config, command),
        *plan.problems(config.plan),
        *_validate(config.validate.command),
        *doctor.problems(config.doctor),
        *needs(config, command),
    ]
    return [f"config.{line}" for line in found]


def _validate(command: str) -> Iterator[str]:
    if command:
        yield from choice("validate.command", command, [name for name in COMMANDS if name != "validate"])


def _data(data: DataConfig) -> Iterator[str]:
    yield from choice("data.kind", data.kind, KINDS)
    for split in data.splits:
        if data.kind in KINDS and split not in SPLITS_OF_KIND[data.kind]:
            allowed = ", ".join(SPLITS_OF_KIND[data.kind])
            yield f"data.splits: no split {split!r} in data of kind {data.kind!r}; it has {allowed}"
    if data.limit is not None:
        yield from at_least("data.limit", data.limit, 1)
    if not 0 < data.share <= 1:
        yield f"data.share: {data.share} is no share of the rows; give more than 0, and 1 for all of them"
    for name in ("dev_path", "test_path"):
        if getattr(data, name) and data.kind != "rows":
            yield f"data.{name}: only data.kind='rows' reads it; the kind is {data.kind!r}, so leave it empty"
    if data.drop_shared_objects and data.kind != "entity_questions":
        yield "data.drop_shared_objects: only data.kind='entity_questions' has this option; set it to False"


def _world(world: WorldConfig) -> Iterator[str]:
    yield from seed("data.world.seed", world.seed)
    yield from at_least("data.world.facts_per_relation", world.facts_per_relation, 1)
    yield from at_least("data.world.ood_facts_per_relation", world.ood_facts_per_relation, 1)
    yield from between("data.world.relations", world.relations, 1, 12)
    yield from between("data.world.ood_relations", world.ood_relations, 0, 5)


def _corpus(corpus: CorpusConfig) -> Iterator[str]:
    yield from seed("data.corpus.seed", corpus.seed)
    yield from above_zero("data.corpus.median_exposures", corpus.median_exposures)
    yield from at_least("data.corpus.row_tokens", corpus.row_tokens, 2)
    yield from at_least("data.corpus.vocab_size", corpus.vocab_size, 256)


def _model(model: ModelConfig) -> Iterator[str]:
    if model.source:
        yield "model.source: filled in by the program for a hub id; leave it empty, and name a revision in model.path"
    yield from choice("model.dtype", model.dtype, ("float32", "bfloat16"))
    yield from choice("model.weights", model.weights, ("", "bfloat16", "int8"))
    yield from choice("model.precision", model.precision, ("highest", "high", "default"))
    shape = model.shape
    for name in ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_mlp"):
        yield from at_least(f"model.shape.{name}", getattr(shape, name), 1)
    yield from above_zero("model.shape.rope_theta", shape.rope_theta)
    yield from above_zero("model.shape.norm_eps", shape.norm_eps)
    if shape.head_dim % 2:
        yield f"model.shape.head_dim: {shape.head_dim} is odd; rotary positions turn pairs, so make it even"
    if shape.n_kv_heads >= 1 and shape.n_heads % shape.n_kv_heads:
        yield f"model.shape.n_kv_heads: {shape.n_kv_heads} does not divide n_heads={shape.n_heads}; choose a divisor"


def _mesh(mesh: MeshConfig) -> Iterator[str]:
    sizes = {"data": mesh.data, "fsdp": mesh.fsdp, "tensor": mesh.tensor}
    for name, size in sizes.items():
        if size != -1 and size < 1:
            yield f"mesh.{name}: {size} is not a number of devices; give 1 or more, or -1 for all that are left"
    if list(sizes.values()).count(-1) > 1:
        yield f"mesh: {sizes} has more than one -1; only one axis can take all devices that are left"


def _distributed(distributed: DistributedConfig) -> Iterator[str]:
    yield from choice("distributed.cluster", distributed.cluster, ("auto", "none"))
    yield from at_least("distributed.silence", distributed.silence, 1)
    given = {"coordinator": bool(distributed.coordinator)}
    given |= {name: getattr(distributed, name) is not None for name in ("process_count", "process_index")}
    if any(given.values()) and not all(given.values()):
        missing = ", ".join(name for name, there in given.items() if not there)
        yield f"distributed.coordinator, process_count, process_index: they go together, and {missing} is not set"
        return
    if not distributed.coordinator:
        return
    host, _, port = distributed.coordinator.rpartition(":")
    if not host or not port.isdecimal():
        yield f"distributed.coordinator: {distributed.coordinator!r} is no host:port, such as 10.0.0.1:8476"
    if not 0 <= distributed.process_index < distributed.process_count:
        yield (
            f"distributed.process_index: {distributed.process_index} is not one of"
            f" distributed.process_count={distributed.process_count}; the first is 0"
        )


def _annotate(annotate: AnnotateConfig) -> Iterator[str]:
    for name in ("n_exemplar_sets", "n_exemplars", "top_k", "part_size", "answer_rows"):
        yield from at_least(f"annotate.{name}", getattr(annotate, name), 1)
    for name in ("n_reserve_sets", "batch_tokens"):
        yield from at_least(f"annotate.{name}", getattr(annotate, name), 0)
    if annotate.kept_gib is not None:
        yield from at_least("annotate.kept_gib", annotate.kept_gib, 0)
    for name in ("seed", "exemplar_seed"):
        yield from seed(f"annotate.{name}", getattr(annotate, name))
    if annotate.n_exemplar_sets + annotate.n_reserve_sets > MAX_SETS:
        yield (
            f"annotate.n_exemplar_sets: {annotate.n_exemplar_sets} and n_reserve_sets={annotate.n_reserve_sets} make"
            f" more than {MAX_SETS} sets; lower one of them"
        )
    if annotate.n_samples < 1:
        yield (
            f"annotate.n_samples: {annotate.n_samples} is too small: WeaklyKnown is defined by samples, which mode"
            " 'exact' counts without drawing; give 1 or more"
        )
    yield from at_least("annotate.max_answer_tokens", annotate.max_answer_tokens, 2)
    yield from above_zero("annotate.temperature", annotate.temperature)
    yield from choice("annotate.mode", annotate.mode, ("full", "labels", "exact"))
    yield from choice("annotate.exemplars", annotate.exemplars, ("per_relation", "per_question"))
    yield from choice("annotate.answers", annotate.answers, ("none", "greedy", "all"))
    if annotate.answers == "all" and annotate.mode == "exact":
        yield "annotate.answers: 'all', but mode 'exact' draws no samples; set it to 'greedy', or mode to 'full'"
    if annotate.match not in RULES and not all(annotate.match.partition(":")):
        yield (
            f"annotate.match: {annotate.match!r} is unknown; allowed: {', '.join(RULES)}, or your own as"
            " module:function"
        )
    yield from choice("annotate.prompt_style", annotate.prompt_style, ("qa", "chat"))
    for option in annotate.chat_options:
        if not option.partition("=")[0].isidentifier() or "=" not in option:
            yield f"annotate.chat_options: {option!r} is no name=value, such as enable_thinking=false"
    if annotate.chat_options and annotate.prompt_style != "chat":
        yield "annotate.chat_options: only annotate.prompt_style='chat' reads them; leave them empty"
    if not 0 < annotate.exact_tolerance < 1:
        yield f"annotate.exact_tolerance: {annotate.exact_tolerance} is not a probability between 0 and 1; try 1e-3"
    if annotate.exact_pairs and annotate.mode == "labels":
        yield "annotate.exact_pairs: mode 'labels' computes no exact P_Correct; leave them empty, or set mode to 'full'"
    for temperature, top_k in annotate.exact_pairs:
        if not temperature > 0 or top_k < 1:
            yield f"annotate.exact_pairs: ({temperature}, {top_k}) needs a temperature above 0 and a top_k of 1 or more"
    if any(not phrase.strip() or "\n" in phrase for phrase in annotate.abstain_phrases):
        yield f"annotate.abstain_phrases: {annotate.abstain_phrases!r} holds an empty phrase or one with a line break"


def _pretrain(pretrain: PretrainConfig) -> Iterator[str]:
    for name in ("rows_per_step", "checkpoint_every"):
        yield from at_least(f"pretrain.{name}", getattr(pretrain, name), 1)
    yield from seed("pretrain.seed", pretrain.seed)
    for name in ("warmup_steps", "weight_decay"):
        yield from at_least(f"pretrain.{name}", getattr(pretrain, name), 0)
    yield from above_zero("pretrain.peak_lr", pretrain.peak_lr)
    yield from above_zero("pretrain.clip_norm", pretrain.clip_norm)
    yield from between("pretrain.final_lr_fraction", pretrain.final_lr_fraction, 0, 1)
    if not 0 < pretrain.b2 < 1:
        yield f"pretrain.b2: {pretrain.b2} is outside 0 to 1 (both excluded); 0.95 is usual"
    if pretrain.max_steps is not None:
        yield from at_least("pretrain.max_steps", pretrain.max_steps, 1)


def _mix(mix: MixConfig) -> Iterator[str]:
    whole = mix.size.isdecimal() and len(mix.size) <= 12 and int(mix.size) > 0
    if mix.size not in ("paper", "known_unknown") and not whole:
        yield f"mix.size: {mix.size!r} is unknown; allowed: paper, known_unknown, or a whole number of examples"
    for percent in mix.percents:
        yield from between("mix.percents", percent, 0, 100)
    if not mix.percents or len(set(mix.percents)) < len(mix.percents):
        yield f"mix.percents: {mix.percents} must name one percentage or more, each once"
    if mix.idk and (not mix.idk_text.strip() or "\n" in mix.idk_text):
        yield f"mix.idk_text: {mix.idk_text!r} is empty or holds a line break; give a phrase, or set mix.idk=False"
    if not mix.split:
        yield "mix.split: empty; give the split to draw from, such as train"
    yield from seed("mix.seed", mix.seed)
    yield from choice("mix.rule", mix.rule, ("", "strict_"))
    for name in ("sure_text", "unsure_text"):
        if not getattr(mix, name).strip() or "\n" in getattr(mix, name):
            yield f"mix.{name}: {getattr(mix, name)!r} is empty or holds a line break; give a phrase"
    if mix.sure_text.strip() == mix.unsure_text.strip():
        yield f"mix.unsure_text: {mix.unsure_text!r} is mix.sure_text, too; give phrases that can be told apart"
    for name in ("patch_percent", "upweight_percent"):
        if not 0 < getattr(mix, name) <= 100:
            yield f"mix.{name}: {getattr(mix, name)} is no share of D; give percent above 0, up to 100"
    for name in ("replay_per_fact", "upweight_times"):
        yield from at_least(f"mix.{name}", getattr(mix, name), 1)
    yield from at_least("mix.gradual_replay", mix.gradual_replay, 0)
    yield from recipes.problems(mix)


def _train(train: TrainConfig) -> Iterator[str]:
    yield from between("train.epochs", train.epochs, 1, MAX_EPOCHS)
    for name in ("batch_size", "accumulate"):
        yield from at_least(f"train.{name}", getattr(train, name), 1)
    yield from seed("train.seed", train.seed)
    for name in ("warmup_steps", "weight_decay", "clip_norm", "keep_every"):
        yield from at_least(f"train.{name}", getattr(train, name), 0)
    for name in ("max_target_tokens", "max_replay_tokens"):
        yield from at_least(f"train.{name}", getattr(train, name), 2)
    yield from choice("train.optimizer", train.optimizer, ("adamw", "adafactor"))
    yield from choice("train.remat", train.remat, ("none", "dots", "full"))
    yield from choice("train.schedule", train.schedule, ("constant", "cosine"))
    yield from above_zero("train.peak_lr", train.peak_lr)
    yield from above_zero("train.eps", train.eps)
    if not 0 < train.b2 < 1:
        yield f"train.b2: {train.b2} is outside 0 to 1 (both excluded); 0.999 is usual"
    if train.optimizer == "adafactor" and (train.b2, train.eps) != (TrainConfig.b2, TrainConfig.eps):
        yield "train.b2, train.eps: are of adamw, and train.optimizer is 'adafactor'; leave both unset"
    if not 0 <= train.dropout < 1:
        yield f"train.dropout: {train.dropout} is no share of activations; give 0 up to, but not including, 1"
    if train.accumulate >= 1 and train.batch_size % train.accumulate:
        yield f"train.accumulate: {train.accumulate} does not divide train.batch_size={train.batch_size}"
    if train.variant and train.mixture:
        yield f"train.mixture: {train.mixture!r} besides train.variant={train.variant!r}; set one of them"
    for name in ("eval_train_epochs", "eval_dev_epochs", "eval_test_epochs"):
        try:
            parse_epochs(getattr(train, name), min(max(train.epochs, 1), MAX_EPOCHS))
        except ValueError as error:
            yield f"train.{name}: {error}"
    if not train.keep and not train.keep_every:
        yield "train.keep: empty, and so is train.keep_every; name 'best' or 'last', some checkpoint has to stay"
    for name in train.keep:
        yield from choice("train.keep", name, ("best", "last"))
    for name in train.writers:
        yield from choice("train.writers", name, ("tensorboard", "wandb"))


def _lora(lora: LoraConfig) -> Iterator[str]:
    yield from at_least("train.lora.rank", lora.rank, 0)
    yield from above_zero("train.lora.alpha", lora.alpha)
    if not 0 <= lora.dropout < 1:
        yield f"train.lora.dropout: {lora.dropout} is no share of inputs; give 0 up to, but not including, 1"
    yield from choice("train.lora.base_dtype", lora.base_dtype, ("float32", "bfloat16"))
    given = [item.name for item in fields(lora) if getattr(lora, item.name) != item.default and item.name != "rank"]
    if not lora.rank and given:
        yield f"train.lora.rank: 0, which is no LoRA, although lora.{given[0]} is set; give a rank such as 16"


def _export(export: ExportConfig) -> Iterator[str]:
    yield from choice("export.lora", export.lora, ("merged", "adapter"))


def _evaluate(evaluate: EvaluateConfig, kind: str) -> Iterator[str]:
    for split in evaluate.splits:
        if kind in KINDS:
            yield from choice("evaluate.splits", split, SPLITS_OF_KIND[kind])


def _study(config: Config) -> Iterator[str]:
    study = config.study
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        yield f"study.seeds: {study.seeds} must name one seed or more, each once"
    for one in study.seeds:
        yield from seed("study.seeds", one)
    yield from shards.problems(study.shard)
    yield from at_least("study.processes", study.processes, 1)
    for stop in study.shift_stops:
        yield from choice("study.shift_stops", stop, tuple(KEPT_FOR))
        kept = KEPT_FOR.get(stop)
        if study.shift and kept and kept not in config.train.keep:
            yield f"train.keep: {config.train.keep}, and study.shift needs {kept!r}, the checkpoint of {stop}; add it"
    if study.shift and not study.shift_stops:
        yield "study.shift_stops: empty, although study.shift is set; name 'EARLY_STOP', 'CONVERGENCE' or both"
    for split in study.shift_splits:
        if config.data.kind in KINDS:
            yield from choice("study.shift_splits", split, SPLITS_OF_KIND[config.data.kind])
