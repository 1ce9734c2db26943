"""The commands of `slick`: a record each, which the command line, its checks and `slick validate` read.

A new command is a record here, its help in slick_jax/command_help.py, and its module.
"""

import dataclasses

MODEL = ("model.path",)


@dataclasses.dataclass(frozen=True)
class Command:
    """place: module with run(config), or module:function; does: its line in `slick --help`.

    needs: settings that must not be empty (what to give is told by slick_jax/settings/needs.py); model: those that may
    name the model it reads, of which the first that is set counts; flags: short ones, with the setting of each.

    data: reads data.path; annotates: asks rows behind exemplars; trains: fine-tunes; computes: on the devices of
    `mesh`; together: several processes share its work out; alone: computes for long in one process; resumes: goes on
    where a stopped run was; own_models: keeps models in its run folder, and reads them back.
    """

    place: str
    does: str
    needs: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    flags: dict[str, str] = dataclasses.field(default_factory=dict)
    data: bool = False
    annotates: bool = False
    trains: bool = False
    computes: bool = False
    together: bool = False
    alone: bool = False
    resumes: bool = False
    own_models: bool = False


def _longform(function: str, does: str) -> Command:
    """`slick longform` or one of its stages, whose needs are in slick_jax/settings/longform_rules.py."""
    place = f"slick_jax.longform.study:{function}" if function else "slick_jax.longform.study"
    return Command(
        place, does, model=MODEL, trains=True, computes=True, alone=True, resumes=True, own_models=True
    )  # fmt: skip


COMMANDS = {
    "demo": Command(
        "slick_jax.demo", "the whole way: a small model learns the facts, then from annotate to the report",
        needs=("run_dir",), data=True, annotates=True, trains=True, computes=True, alone=True, resumes=True,
        own_models=True,
    ),
    "data": Command(
        "slick_jax.data.prepare", "check the examples, write them as JSON lines, count them",
        needs=("run_dir",), data=True,
    ),
    "pretrain": Command(
        "slick_jax.training.pretrain", "train a small model on a corpus that tells the facts of the data",
        needs=("run_dir",), data=True, computes=True, together=True, resumes=True, own_models=True,
    ),
    "annotate": Command(
        "slick_jax.knowledge.annotate", "measure P_Correct and the knowledge category of every example",
        needs=("run_dir", *MODEL), model=MODEL, data=True, annotates=True, computes=True, together=True, resumes=True,
    ),
    "doctor": Command(
        "slick_jax.checkup.command", "annotate rows, say what to do about them, write them ready for training",
        needs=("run_dir", *MODEL), model=MODEL, flags={"--dry-run": "doctor.dry_run"}, data=True, annotates=True,
        computes=True, alone=True, resumes=True,
    ),
    "rescore": Command(
        "slick_jax.knowledge.rescore", "judge kept answers by another match rule, without the model",
        needs=("run_dir", "rescore.source"),
    ),
    "mix": Command(
        "slick_jax.data.mix", "make mixtures of Known and Unknown examples from the annotations",
        needs=("run_dir",), data=True,
    ),
    "train": Command(
        "slick_jax.training.train", "fine-tune on a mixture and follow what the model knows, epoch by epoch",
        needs=("run_dir", *MODEL), model=MODEL, data=True, trains=True, computes=True, together=True, resumes=True,
    ),
    "evaluate": Command(
        "slick_jax.training.evaluate", "greedy exact match of a model or a training checkpoint",
        model=("evaluate.checkpoint", *MODEL), data=True, computes=True, together=True,
    ),
    "study": Command(
        "slick_jax.training.study", "train on every mixture and seed, and report; --shard=i/n: a share of them",
        needs=("run_dir", *MODEL), model=MODEL, flags={"--shard": "study.shard"}, data=True, trains=True,
        computes=True, alone=True, resumes=True,
    ),
    "gradual": Command(
        "slick_jax.training.gradual", "train on MaybeKnown, annotate again, train on what was promoted",
        needs=("run_dir", *MODEL), model=MODEL, data=True, annotates=True, trains=True, computes=True, alone=True,
        resumes=True, own_models=True,
    ),
    "longform": _longform("", "which long texts to fine-tune on: all these stages"),
    "longform-entities": _longform("entities", "  1 what is written about, each in one split"),
    "longform-texts": _longform("texts", "  2 reference texts and the model's own samples"),
    "longform-claims": _longform("claims", "  3 their claims, and whether the reference supports them"),
    "longform-beliefs": _longform("beliefs", "  4 how much the model believes every claim"),
    "longform-arms": _longform("arms", "  5 filtered training texts, equally long"),
    "longform-train": _longform("train", "  6 a fine-tuned model of every arm, domain and seed"),
    "longform-answers": _longform("answers", "  7 what they write of held-out entities"),
    "longform-report": _longform("report", "  8 scores, figures and one HTML page"),
    "report": Command(
        "slick_jax.analysis.report", "tables, figures and one HTML page from the finished runs", needs=("run_dir",),
    ),
    "export": Command(
        "slick_jax.training.export", "turn a training checkpoint into a Hugging Face folder",
        needs=("export.checkpoint", "export.out"), computes=True,
    ),
    "plan": Command(
        "slick_jax.planning.plan", "what a config needs: memory, arithmetic, hours, without the devices",
        model=("plan.model", *MODEL),
    ),
    "validate": Command(
        "slick_jax.validate", "show what a config would run, and everything wrong with it",
        flags={"--for": "validate.command"}, data=True,
    ),
}  # fmt: skip
# Those that only look at what is there: run(arguments), without a config.
BROWSE = {
    "ls": Command("slick_jax.browsing.ls", "list run folders: what they are, their state, their headline numbers"),
    "show": Command("slick_jax.browsing.show", "print everything that a run folder knows about one example"),
}
