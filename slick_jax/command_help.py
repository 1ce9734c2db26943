"""`slick --help` and `slick <command> --help`: what a command is for, what matters, and an example."""

from __future__ import annotations

import dataclasses
import textwrap

from slick_jax.commands import COMMANDS
from slick_jax.settings.setting_docs import settings

WIDTH = 110  # columns
SETTINGS = "slick_jax/config.py; of doctor, longform and plan in slick_jax/settings"
CONFIG = "--config=configs/<file>.py [--config.<setting>=<value> ...]"


@dataclasses.dataclass(frozen=True)
class Help:
    """What a command's help says, besides what its settings say of themselves.

    settings: those that matter most; example: what follows `slick <command>`, runnable as `needs` says; guide: the page
    to read on; given: defaults that the command's own config file sets. Commands that browse take no config, and name
    their own arguments in `settings` with a meaning.
    """

    purpose: str
    settings: tuple[str, ...] | dict[str, str]
    reads: str
    writes: str
    example: str
    guide: str
    needs: str = "after `make demo`"
    given: dict[str, str] = dataclasses.field(default_factory=dict)


DEMO = "--config=configs/demo.py"
DEMO_MODEL = f"{DEMO} --config.model.path=runs/demo/model"
CHECKPOINTS = "runs/demo/train/unknown_50/seed-0/checkpoints"
LONG = "--config=configs/longform.py"
LONG_ROOM = "run_dir/longform/<domain>/"

HELP = {
    "demo": Help(
        "The whole way on a laptop: a small model reads a made-up world, is asked what it knows, is fine-tuned on"
        " mixtures of Known and Unknown facts, and a report is written. With data.kind=rows it does the same for facts"
        " of your own. Stopped, it goes on when the command is given again.",
        ("run_dir", "data.world.facts_per_relation", "data.corpus.median_exposures", "mix.percents", "train.epochs"),
        "nothing, or the rows of data.path",
        "in run_dir all that pretrain, annotate, mix, train and report write",
        DEMO, "README.md", "9 to 12 minutes on 2 cores",
    ),
    "data": Help(
        "Reads the question-answer rows as every other command does, checks them, and counts them by split and"
        " relation. Bad rows are listed with their lines. Use it to see what a data set holds, or to turn it into plain"
        " JSON lines or a TFDS data set.",
        ("data.kind", "data.path", "data.share", "data.write_tfds", "run_dir"),
        "data.path: JSON lines, Parquet, a TFDS folder or EntityQuestions",
        "run_dir/data/<split>.jsonl and summary.json; run_dir/data/tfds with data.write_tfds",
        f"{DEMO} --config.run_dir=runs/facts", "docs/data.md", "as it stands",
    ),
    "pretrain": Help(
        "Trains a small model from nothing on a corpus that tells the facts of the data, some often and some never, so"
        " that it knows them by degrees. The result is an ordinary Hugging Face folder. It goes on from its last"
        " checkpoint.",
        ("run_dir", "data.corpus.median_exposures", "data.corpus.row_tokens", "model.shape.d_model",
         "pretrain.peak_lr"),
        "the built-in world, or the rows of data.path",
        "run_dir/model/, checkpoints/, world/, exposures.json (how often each fact is told), pretrain.json",
        f"{DEMO} --config.run_dir=runs/pretrained", "docs/study.md", "2 to 3 minutes on 2 cores",
    ),
    "annotate": Help(
        "Measures what a model knows about each row before you train on it: P_Correct (how often it answers right"
        " behind ten sets of exemplars, greedily and with samples) and the category HighlyKnown, MaybeKnown,"
        " WeaklyKnown or Unknown. Part by part, so that a stopped run goes on.",
        ("data.path", "model.path", "run_dir", "annotate.mode", "annotate.answers"),
        "the rows of data.path, and a Hugging Face folder or hub id",
        "run_dir/annotations.parquet (a row per question), summary.json, exemplars.json, config.json, annotations/,"
        " and samples/ where answers are kept",
        f"{DEMO_MODEL} --config.data.limit=50 --config.run_dir=runs/first_50", "docs/annotations.md",
    ),
    "doctor": Help(
        "For a file of rows and a model: annotates the rows, says what share is Known and Unknown, which relations or"
        " kinds of questions are worst, and what to do about it, and writes the rows ready for training: with"
        " categories, without Unknown, MaybeKnown weighted, Unknown relabelled. --dry-run shows prompts, work and time"
        " first, and writes nothing. A stopped run goes on.",
        ("data.path", "model.path", "run_dir", "annotate.prompt_style", "doctor.skip_bad_rows"),
        "data.path: JSON lines or Parquet with question and answer; a Hugging Face folder or hub id",
        "run_dir/doctor/index.html, advice.md, summary.json, left_out.jsonl, data/*.jsonl and *.parquet, tables/,"
        " figures/; and what annotate writes",
        "--config=configs/doctor.py --config.model.path=runs/demo/model --config.data.path=runs/demo/world/test.jsonl",
        "docs/doctor.md", given={"run_dir": "runs/doctor, in configs/doctor.py"},
    ),
    "rescore": Help(
        "Judges the answers of a finished annotation by another match rule, without running the model again: hits,"
        " P_Correct and categories anew. The run must have kept its answers (annotate.answers=all).",
        ("rescore.source", "annotate.match", "run_dir"),
        "rescore.source: run folder with annotations.parquet and samples/",
        "run_dir/annotations.parquet, summary.json and config.json, as annotate does",
        f"{DEMO} --config.rescore.source=runs/answers --config.annotate.match=strict --config.run_dir=runs/strict",
        "docs/answers.md", "after `slick annotate` with annotate.answers=all and run_dir=runs/answers",
    ),
    "mix": Help(
        "Cuts training mixtures out of annotated rows: equally large, with X % Unknown in every relation, the Known"
        " part alone, single categories, the natural shares, relabelled or weighted. Exemplars and held-out questions"
        " never get in.",
        ("mix.size", "mix.percents", "mix.recipes", "mix.split", "run_dir"),
        "run_dir/annotations.parquet and exemplars.json, and the rows of data.path",
        "run_dir/mixtures/<variant>.jsonl and .parquet (with prompt and completion), manifest.json",
        f"{DEMO} --config.mix.recipes=all_Known", "docs/study.md",
    ),
    "train": Help(
        "Fine-tunes a model on one mixture and asks, after every epoch, every training example and the held-out"
        " questions: which categories are fitted when, and what becomes of test accuracy. Adapters (LoRA) or all"
        " parameters. SIGTERM saves first; the same command goes on.",
        ("train.variant", "train.epochs", "train.peak_lr", "train.batch_size", "train.lora.rank"),
        "run_dir/mixtures/<variant>.jsonl (or train.mixture), model.path, and held-out rows of data.path",
        "run_dir/train/<variant>/seed-<n>/: checkpoints/, metrics.jsonl, fit.parquet, answers.parquet, result.json",
        f"{DEMO_MODEL} --config.train.variant=unknown_50 --config.train.seed=1", "docs/study.md",
    ),
    "evaluate": Help(
        "Greedy exact match of a model, without exemplars, by split, category and relation: of a Hugging Face folder,"
        " a hub id, adapters, or a checkpoint of a training run.",
        ("evaluate.checkpoint", "evaluate.splits", "data.path", "annotate.match", "run_dir"),
        "the checkpoint, the rows of data.path, and categories of run_dir/annotations.parquet where they are there",
        "run_dir/evaluations/<checkpoint>_<digest>.json and .parquet (a row per question)",
        f"{DEMO} --config.evaluate.checkpoint={CHECKPOINTS}", "docs/study.md",
    ),
    "study": Help(
        "The paper's experiment: train on every mixture with every seed, then report. Any number of processes may work"
        " on one run folder; each run is held by one of them, what is finished is skipped, and the last one reports.",
        ("study.variants", "study.seeds", "study.shift", "study.processes", "study.shard"),
        "what train reads, for all mixtures of run_dir/mixtures/",
        "run_dir/train/<variant>/seed-<n>/ for every run, and run_dir/report/",
        f"{DEMO_MODEL} --config.study.variants=unknown_0,unknown_100 --config.study.seeds=0,1", "docs/study.md",
    ),
    "gradual": Help(
        "Fine-tunes in two stages: on MaybeKnown examples up to the best epoch, then annotates the tuned model and goes"
        " on with the examples that have become MaybeKnown, with a replay of HighlyKnown ones.",
        ("model.path", "mix.gradual_replay", "train.epochs", "train.peak_lr", "run_dir"),
        "run_dir/annotations.parquet and exemplars.json, and the rows of data.path",
        "run_dir/mixtures/, run_dir/train/all_MaybeKnown/ and run_dir/gradual/seed-<n>/",
        f"{DEMO_MODEL} --config.mix.recipes=all_MaybeKnown", "docs/study.md",
    ),
    "longform": Help(
        "Asks which long texts to fine-tune on so that long answers hold fewer errors: texts are generated, cut into"
        " claims, judged, filtered by truth, by the model's own belief or at random, fine-tuned on, and scored. All"
        " stages in order; what is finished is not done again.",
        ("longform.arms", "longform.seeds", "longform.filter.scorer", "longform.own.paths", "run_dir"),
        "nothing for the built-in domains (it trains its own small model), or longform.own.paths and model.path",
        f"{LONG_ROOM} for every stage, run_dir/longform/report/index.html",
        LONG, "docs/longform.md", "about 40 minutes on 2 cores",
    ),
    "longform-entities": Help(
        "Stage 1 of `slick longform`: what is written about, and which split each entity is in. No entity is in two"
        " splits, so that no answer is scored on what was trained on.",
        ("longform.domains.names", "longform.domains.train", "longform.domains.test", "longform.own.paths",
         "longform.own.shares"),
        "the built-in domains or longform.own.paths", f"{LONG_ROOM}entities.parquet", LONG, "docs/longform_texts.md",
        "as it stands",
    ),
    "longform-texts": Help(
        "Stage 2 of `slick longform`: the reference texts, and the texts that the un-tuned model writes about the same"
        " entities behind a few examples.",
        ("longform.samples", "longform.resamples", "longform.write.temperature", "longform.write.max_tokens",
         "longform.write.exemplars"),
        "the tables of stage 1 and the model", f"{LONG_ROOM}<source>/texts.parquet", LONG, "docs/longform_texts.md",
        "does the earlier stages where they are missing",
    ),
    "longform-claims": Help(
        "Stage 3 of `slick longform`: texts are broken into single claims, and a verifier says of each whether the"
        " reference supports it.",
        ("longform.claims.method", "longform.claims.model", "longform.claims.verifier",
         "longform.claims.verifier_model", "longform.claims.passages"),
        "the texts of stage 2", f"{LONG_ROOM}<source>/sentences.parquet, claims.parquet, labels.parquet", LONG,
        "docs/longform.md", "does the earlier stages where they are missing",
    ),
    "longform-beliefs": Help(
        "Stage 4 of `slick longform`: how much the model itself believes every claim, by a probe on its hidden states,"
        " by P(True), by agreement of its own samples, and by likelihood; each calibrated on the dev split.",
        ("longform.scorers", "longform.context", "longform.calibration", "longform.probe.strengths",
         "longform.p_true.examples"),
        "claims and labels of stage 3, and the model", f"{LONG_ROOM}probe/, {LONG_ROOM}<source>/beliefs.parquet", LONG,
        "docs/belief.md", "does the earlier stages where they are missing",
    ),
    "longform-arms": Help(
        "Stage 5 of `slick longform`: the training texts of every arm, such as gold text, gold text that the model"
        " believes, or its own text filtered by truth; made equally long, so that only the choice differs.",
        ("longform.arms", "longform.filter.scorer", "longform.filter.threshold", "longform.filter.granularity",
         "longform.filter.match"),
        "beliefs and labels of stages 3 and 4", f"{LONG_ROOM}arms/<arm>.jsonl and manifest.json", LONG,
        "docs/longform_arms.md", "does the earlier stages where they are missing",
    ),
    "longform-train": Help(
        "Stage 6 of `slick longform`: fine-tunes the model on every arm, domain and seed. Finished runs stay as they"
        " are, and a stopped one goes on from its last checkpoint.",
        ("longform.seeds", "longform.more_seeds", "train.epochs", "train.peak_lr", "train.lora.rank"),
        "the texts of stage 5 and the model", f"{LONG_ROOM}train/<arm>/seed-<n>/checkpoints/", LONG, "docs/longform.md",
        "does the earlier stages where they are missing",
    ),
    "longform-answers": Help(
        "Stage 7 of `slick longform`: what the un-tuned and every fine-tuned model write about test entities, with the"
        " claims of their answers and whether the reference supports them.",
        ("longform.write.answers", "longform.write.max_tokens", "longform.transfer", "longform.claims.verifier",
         "longform.write.rows"),
        "the models of stage 6", f"{LONG_ROOM}answers/<model>/", LONG, "docs/longform.md",
        "does the earlier stages where they are missing",
    ),
    "longform-report": Help(
        "Stage 8 of `slick longform`: precision and FActScore of every arm with paired intervals, which orderings hold,"
        " how good belief is, and one HTML page.",
        ("longform.margin", "longform.gamma", "longform.draws", "longform.filter.threshold", "run_dir"),
        "all tables of the other stages",
        "run_dir/longform/answers.parquet, tables/, figures/, report/index.html", LONG, "docs/longform.md",
        "does the earlier stages where they are missing",
    ),
    "report": Help(
        "Tables, figures with their data, a verdict on each of the paper's findings with intervals, and one HTML page,"
        " from whatever runs are finished. It says what is missing and asks no model.",
        ("run_dir", "study.variants", "study.seeds", "mix.rule"),
        "run_dir: annotations.parquet, mixtures/, train/",
        "run_dir/report/index.html, findings.md, figures/, tables/",
        DEMO, "docs/statistics.md",
    ),
    "export": Help(
        "Turns a training checkpoint into a Hugging Face folder with tokenizer, which transformers and serving engines"
        " load; adapters are merged, or written as a PEFT folder.",
        ("export.checkpoint", "export.out", "export.lora", "model.path", "mesh.fsdp"),
        "export.checkpoint: checkpoints/ of a run (the newest in it) or one step",
        "export.out, and nothing in run_dir",
        f"{DEMO} --config.export.checkpoint={CHECKPOINTS} --config.export.out=runs/tuned",
        "docs/study.md",
    ),
    "plan": Help(
        "Says what a config needs before any device is paid for: memory per device, arithmetic, traffic and hours of"
        " each stage on H100, H200 or TPU slices, and what to change where it does not fit. No weights are read, and"
        " no accelerator is needed.",
        ("plan.device", "plan.devices", "plan.topology", "plan.model", "plan.stages"),
        "config.json of the model (plan.model or model.path), tokenizer and rows where they are there",
        "run_dir/plan.json where run_dir is set",
        "--config=configs/plan_8b_h100.py", "docs/plan.md", "from a checkout of the repository",
    ),
    "validate": Help(
        "Shows what a config would run and lists everything that is wrong with it, before anything is paid for: all"
        " settings, rows, exemplar pools, the first prompt word by word, model, devices, run folder, disk and"
        " mixtures. --for=<command> checks for that command; without it, for those that the config sets up.",
        ("data.path", "model.path", "run_dir", "annotate.prompt_style", "mesh.data"),
        "everything the command would read, but no weights",
        "nothing",
        f"{DEMO_MODEL} --for=study", "docs/browse.md",
    ),
    "ls": Help(
        "One line for every run folder below a folder (runs/ without one): what it is, whether it is finished, running"
        " or stopped and where, when it was last written, and its headline numbers. It reads small files only, and"
        " takes no config.",
        {"[folder]": "where to look; default runs; gs://bucket/folder, too"},
        "config.json, summary.json, result.json, metrics.jsonl of run folders", "nothing", "runs", "docs/browse.md",
    ),
    "show": Help(
        "Everything that a run folder knows about one example: question and answers, category and certainty, hits"
        " behind every set of exemplars, answers where they were kept, the mixtures that hold it, and in every"
        " training run when it was fitted and how it ended.",
        {"<example id>": "as in annotations.parquet", "--run_dir=<folder>": "the run; default: the newest below runs/"},
        "annotations.parquet, exemplars.json, samples/, mixtures/, train/*/*/fit.parquet", "nothing",
        "author.12 --run_dir=runs/demo", "docs/browse.md",
    ),
}  # fmt: skip


def of_command(command: str, what: str) -> str:
    """The help of one command; `what`: its line in the list of commands."""
    told = HELP[command]
    plain = isinstance(told.settings, dict)
    named = told.settings if plain else {
        f"--config.{name}": _meaning(name, told.given.get(name)) for name in told.settings
    }
    return "\n".join(
        [
            f"slick {command}: {what.strip()}", "", *_wrapped(told.purpose, "  "), "",
            f"usage: slick {command} {' '.join(named if plain else (CONFIG, *_flags(command)))}", "",
            "arguments" if plain else "the settings that matter most",
            *(line for name, meaning in named.items() for line in (f"  {name}", *_wrapped(meaning, "      "))),
            "", *_wrapped(f"reads: {told.reads}", "", "  "), *_wrapped(f"writes: {told.writes}", "", "  "), "",
            f"example ({told.needs})", f"  slick {command} {told.example}", "", f"more: {told.guide}",
            *(() if plain else (f"every setting with its meaning: {SETTINGS}",)),
        ]
    )  # fmt: skip


def of_program(commands: dict[str, str], browsing: dict[str, str]) -> str:
    """The help of `slick` itself: commands with what they do."""
    width = max(map(len, {**commands, **browsing}))

    def listed(table: dict[str, str]) -> list[str]:
        return [f"  {name:<{width}} {what}" for name, what in table.items()]

    return "\n".join(
        [
            "slick measures what a language model already knows about each question-answer example (SliCK), fine-tunes",
            "it on mixtures of Known and Unknown ones, and shows what that does to its knowledge.", "",
            f"usage: slick <command> {CONFIG}", "",
            "commands:", *listed(commands), "", "to look at what is there, without a config:", *listed(browsing), "",
            "start with:", "  slick annotate --config=configs/annotate_jsonl.py --config.data.path=my_rows.jsonl"
            " --config.model.path=<folder>",
            "  slick demo --config=configs/demo.py", "",
            "slick <command> --help: purpose, the settings that matter, what it reads and writes, an example",
            f"Every setting with its meaning: {SETTINGS}",
        ]
    )  # fmt: skip


def _flags(command: str) -> list[str]:
    """The short flags of a command, as its usage has them."""
    found = {flag: settings()[name] for flag, name in COMMANDS[command].flags.items()}
    return [f"[{flag}]" if isinstance(one.default, bool) else f"[{flag}=<value>]" for flag, one in found.items()]


def _meaning(name: str, given: str | None) -> str:
    one = settings()[name]
    default = given or ("none" if one.default in ("", (), None) else one.default)
    return f"{one.meaning} (default: {default})"


def _wrapped(text: str, indent: str, further: str | None = None) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent if further is None else further,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
