"""What to do about the rows: every rule with the numbers that it goes by, and the file or command that does it.

A rule is a function of what was found, and says nothing where it does not apply. To add one, add it to `RULES`.
"""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from slick_jax.categories import UNKNOWN
from slick_jax.checkup import answers
from slick_jax.checkup.diagnosis import Diagnosis
from slick_jax.config import Config, TrainConfig
from slick_jax.training.loop import steps_per_epoch
from slick_jax.training.train import folder_of

FEW_ROWS = 100  # below, a share's interval is up to 20 points wide
SMALL = 0.05  # share of Unknown below which nothing needs to be done
MOSTLY = 0.9  # share of Unknown from which on the way of asking is suspected before the model's knowledge
NEAR = 0.05  # share of the rows that are near misses
LONG_GOLD, LONGER = 8, 3  # words of a usual gold answer; how many times as long the answers are
CUT, ABSTAINED, EMPTY = 20.0, 5.0, 20.0  # percent of the greedy answers
STEP = 1.0  # points that the last draw still took out of Unknown
UNSURE = 25.0  # percent of a category's rows with an unsure label
AS_ASKED = (  # settings that a training run shares with the annotation before it
    "annotate.prompt_style", "annotate.chat_options", "annotate.match", "annotate.abstain_phrases", "model.dtype",
    "model.precision", "mesh.data", "mesh.fsdp", "mesh.tensor",
)  # fmt: skip
INSTRUCT = re.compile(r"(^|[-_.])(instruct|chat|it)($|[-_.\d])")  # in names of models that were trained to chat


@dataclass(frozen=True)
class Advice:
    """rule: its name; title: what to do, in a line; why: the numbers; do: files and commands, a line each."""

    rule: str
    title: str
    why: str
    do: Sequence[str] = ()


Rule = Callable[[Diagnosis, Config], Iterator[Advice]]


def advise(found: Diagnosis, config: Config) -> list[Advice]:
    """What applies, first what may make the rest of no account."""
    return [one for rule in RULES for one in rule(found, config)]


def _way_of_asking(found: Diagnosis, config: Config) -> Iterator[Advice]:
    """An instruct model is asked in its chat template; a model that knows next to nothing was perhaps asked wrongly."""
    qa = config.annotate.prompt_style == "qa"
    name = (config.model.source or config.model.path).rstrip("/").lower().rsplit("/", 1)[-1]
    if qa and found.chat:
        yield Advice(
            "chat", "ask the model in its chat template, too, and compare",
            "The model folder has a chat template, and the questions were put as plain text"
            " (annotate.prompt_style='qa'). An instruct model may know more when it is asked as it was trained; labels"
            " of the two are not comparable.",
            [_again(config, "chat", "--config.annotate.prompt_style=chat")],
        )  # fmt: skip
    elif qa and INSTRUCT.search(name):
        yield Advice(
            "chat", "add the chat template to the model folder",
            f"{name} looks like an instruct model, but its folder has no chat template.",
            ["copy chat_template.jinja (or tokenizer_config.json) from where the model is published",
             _again(config, "chat", "--config.annotate.prompt_style=chat")],
        )  # fmt: skip
    if found.unknown.low >= MOSTLY:
        yield Advice(
            "nothing_known", "check how the model is asked before you trust the labels",
            f"{found.unknown} of the rows are Unknown. Before a model knows nothing, suspect the prompt, the match rule"
            " or the checkpoint: read the answers.",
            [f"{_folder(config)}/tables/examples.csv has them",
             "the same command with --dry-run shows the exact prompt"],
        )  # fmt: skip


def _rows(found: Diagnosis, config: Config) -> Iterator[Advice]:
    """Bad lines, repeated questions, too few rows, relations without exemplars of their own."""
    intake = found.intake
    if intake.left_out:
        yield Advice(
            "left_out", f"mend {len(intake.left_out)} row{'s' * (len(intake.left_out) > 1)} that could not be asked",
            f"The first: {intake.left_out[0].place}: {intake.left_out[0].why}.",
            [f"{_folder(config)}/left_out.jsonl lists them with their reasons"],
        )  # fmt: skip
    if found.conflicting:
        first = ", ".join(map(repr, found.conflicting[0]))
        yield Advice(
            "conflicting", f"settle {len(found.conflicting)} questions that have different answers",
            f"Rows ask the same and are answered otherwise, such as {first}: whichever the model says, one of them"
            " counts as wrong. Keep one, join their answers in one row's `answers`, or make the questions differ.",
        )  # fmt: skip
    repeated = [rows for rows in found.same if rows not in found.conflicting]
    if repeated:
        copies = sum(map(len, repeated)) - len(repeated)
        yield Advice(
            "repeated", f"drop {copies} repeated row{'s' * (copies > 1)}",
            f"{len(repeated)} questions come more than once, such as {', '.join(map(repr, repeated[0]))}; copies"
            " weigh more in training, and intervals take them for independent rows.",
        )  # fmt: skip
    if len(found.rows) < FEW_ROWS:
        yield Advice(
            "few_rows", "give more rows before you decide by shares",
            f"{len(found.rows)} rows leave the share of Unknown at {found.unknown}; from {FEW_ROWS} rows on the"
            " interval is under 20 points wide, from 400 under 10.",
        )  # fmt: skip
    if intake.pooled:
        rows = int(found.rows["relation"].isin(intake.pooled).sum())
        yield Advice(
            "pooled", "give small relations exemplars of their own",
            f"{len(intake.pooled)} relations with {rows} rows in all are too small for exemplars of their own, and were"
            " asked behind rows of each other; such prompts show less well what is wanted.",
            ["add rows, up to 7 a relation and more, or --config.data.dev_path=<file with 6 rows and more of each>"],
        )  # fmt: skip


def _scoring(found: Diagnosis, config: Config) -> Iterator[Advice]:
    """Right answers that do not match, long answers, refusals."""
    n, near, lengths = len(found.rows), found.near, found.lengths
    if len(near) >= max(3, NEAR * n):
        kinds = ", ".join(f"{(near['kind'] == kind).sum()} {kind!r}" for kind in answers.KINDS)
        yield Advice(
            "aliases", f"look at {len(near)} near misses; add aliases or another match rule where they are right",
            f"{len(near)} of {n} rows are never hit, but most greedy answers hold, are a part of, or nearly are a gold"
            f" answer ({kinds}), such as {near['answer'].iloc[0]!r} for {near['gold'].iloc[0]!r}. Some are right, and"
            " their rows are not Unknown.",
            [f"{_folder(config)}/tables/near_misses.csv lists them; add what is right to a row's `answers`",
             _again(config, "match", "--config.annotate.match=<module>:<function>")],
        )  # fmt: skip
    if lengths["gold_words"] > LONG_GOLD or lengths["answer_words"] > LONGER * max(lengths["gold_words"], 2):
        yield Advice(
            "long", "judge long answers by their claims, not by exact match",
            f"Half of the gold answers have {lengths['gold_words']:g} words or more, half of the model's"
            f" {lengths['answer_words']:g}; an exact match of so many words says little about knowledge.",
            ["shorten the gold answers to the fact that is asked",
             "or let `slick longform` judge the claims of long texts (docs/longform.md)"],
        )  # fmt: skip
    if lengths["cut"] >= CUT:
        yield Advice(
            "cut", "see why answers do not end",
            f"{lengths['cut']:.0f} % of the greedy answers were cut at annotate.max_answer_tokens="
            f"{config.annotate.max_answer_tokens}, and count as wrong.",
            [_again(config, "longer", f"--config.annotate.max_answer_tokens={4 * config.annotate.max_answer_tokens}")],
        )  # fmt: skip
    if lengths["empty"] >= EMPTY:
        yield Advice(
            "empty", "see why answers are empty",
            f"{lengths['empty']:.0f} % of the greedy answers hold nothing before their first line break: the prompt may"
            " be in another form than the model was trained on.",
        )  # fmt: skip
    if lengths["abstained"] >= ABSTAINED:
        yield Advice(
            "abstains", "count refusals apart",
            f"{lengths['abstained']:.0f} % of the greedy answers refuse (annotate.abstain_phrases); they count as"
            " wrong, though the model may have learned to be careful. tables/examples.csv shows them.",
        )  # fmt: skip


def _guesses(found: Diagnosis, config: Config) -> Iterator[Advice]:
    """Groups in which one answer is so frequent that it may be hit without knowing."""
    if len(found.guessable):
        first = found.guessable.iloc[0]
        where = "" if not found.grouped else f" of {first['group']!r}"
        yield Advice(
            "guessable", "do not take what may be guesses for knowledge",
            f"{100 * first['share']:.0f} % of the {first['rows']} rows{where} have the answer {first['answer']!r}, and"
            f" {100 * first['given']:.0f} % of the model's greedy answers there are this one: it may be right without"
            " knowing the fact." + f" {len(found.guessable)} groups are like that." * (len(found.guessable) > 1),
            [f"{_folder(config)}/tables/guessable.csv names such groups and their answers"],
        )  # fmt: skip


def _treatment(found: Diagnosis, config: Config) -> Iterator[Advice]:
    """What Unknown rows do in fine-tuning (Gekhman et al. 2024): they are learned late, and then do harm."""
    unknown, data = found.unknown, f"{_folder(config)}/data"
    if unknown.high < SMALL:
        yield Advice(
            "nothing", "train on the rows as they are",
            f"Only {unknown} of the rows are Unknown, under {SMALL:.0%} with 95 % confidence.",
            [f"{data}/all.jsonl"],
        )  # fmt: skip
        return
    share = f"{unknown} of the rows are Unknown to this model."
    if found.known.count:
        yield Advice(
            "filter", f"train without the {unknown.count} Unknown rows, if the model need not learn them",
            f"{share} Once they are learned, a model answers wrongly what it knew before; without them it did not, and"
            " was no worse otherwise (Gekhman et al. 2024, section 4).",
            [f"{data}/without_unknown.jsonl ({found.known.count} rows); dropped.jsonl beside it has the others",
             _train(config, "without_unknown")],
        )  # fmt: skip
    yield Advice(
        "early_stop", "if you train on all rows, stop early",
        f"{share} They are fitted last: the epoch with the best accuracy on held-out rows comes before most of them"
        " are, and the harm with them.",
        [_train(config, "all") + " --config.data.dev_path=<held-out rows>", *_checkpoint(config, "all", unknown.total)],
    )  # fmt: skip
    yield Advice(
        "relabel", f"or teach {config.mix.idk_text!r} for them, if the model should refuse what it does not know",
        f"{share} Taught to refuse, a model answers fewer questions, and more of those rightly.",
        [f"{data}/idk.jsonl ({unknown.count} rows relabelled; mix.idk_text is the text)"],
    )  # fmt: skip
    maybe = found.shares["MaybeKnown"]
    if maybe.count and found.known.count > maybe.count:
        yield Advice(
            "maybe", "weigh MaybeKnown rows up when you choose among Known ones",
            f"{maybe} of the rows are MaybeKnown. Of single categories they taught most in the paper: HighlyKnown rows"
            " alone leave the others forgotten.",
            [
                f"{data}/maybe_weighted.jsonl (column weight), or maybe_resampled.jsonl for trainers without weights,"
                " as slick train"
            ],
        )  # fmt: skip


def _worst(found: Diagnosis, config: Config) -> Iterator[Advice]:
    worse = found.table[found.table["against"] == "more"]
    if len(worse):
        names = ", ".join(f"{one.group!r} ({one.Unknown:.0f} %)" for one in worse.head(3).itertuples())
        yield Advice(
            "worst", f"see to what is surely worse than the rest: {found.grouped} {names}",
            f"Their share of Unknown lies above that of all other rows, interval clear of interval ({len(worse)} in"
            " all). Text about them (continued pretraining, retrieval) helps more than question-answer rows.",
            [f"{_folder(config)}/tables/groups.csv"],
        )  # fmt: skip


def _labels(found: Diagnosis, config: Config) -> Iterator[Advice]:
    """Whether more draws would change the labels."""
    steps = {name: points for name, points in found.last_steps.items() if points >= STEP}
    unsure = found.certainty[(found.certainty["category"] == UNKNOWN) & (found.certainty["unsure"] >= UNSURE)]
    if steps or len(unsure):
        told = [f"the last {name} still took {points:.1f} points out of Unknown" for name, points in steps.items()]
        told += [
            f"{one.unsure:.0f} % of the Unknown labels would more likely come out otherwise another time"
            for one in unsure.itertuples()
        ]
        yield Advice(
            "draws", "take single labels with care, or draw more",
            f"More draws would change labels: {'; '.join(told)}. Shares are steadier than labels.",
            [_again(config, "more", f"--config.annotate.n_exemplar_sets={2 * config.annotate.n_exemplar_sets}"),
             "or filter by the column certainty of data/all.jsonl"],
        )  # fmt: skip


RULES: tuple[Rule, ...] = (_way_of_asking, _rows, _scoring, _treatment, _worst, _guesses, _labels)


def markdown(advice: Sequence[Advice]) -> str:
    """advice.md."""
    parts = []
    for number, one in enumerate(advice, 1):
        done = "".join(f"\n    {line}" for line in one.do)
        parts.append(f"{number}. **{one.title}** (rule `{one.rule}`)\n\n    {one.why}\n{done}\n")
    return "# What to do\n\n" + "\n".join(parts)


def _folder(config: Config) -> str:
    return f"{config.run_dir.rstrip('/')}/doctor"


def _again(config: Config, ending: str, *settings: str) -> str:
    """The command of this run with other settings, in a run folder of its own."""
    return " ".join(["the same command with", *settings, f"--config.run_dir={config.run_dir.rstrip('/')}_{ending}"])


def _tuned(config: Config) -> str:
    return f"{config.run_dir.rstrip('/')}_tuned"


def _checkpoint(config: Config, name: str, rows: int) -> Iterator[str]:
    """Which checkpoint of the run of `_train` is that of EARLY_STOP; the run and its report name the epoch."""
    steps, place = steps_per_epoch(rows, TrainConfig()), folder_of(_tuned(config), name, TrainConfig.seed)
    step = "<n>" if steps == 1 else f"<{steps} x n>"
    yield (
        f"take the checkpoint of the epoch n that it calls EARLY_STOP: {place}/checkpoints/{step} ({steps}"
        f" step{'s' * (steps > 1)} an epoch); not the last one, CONVERGENCE"
    )


def _train(config: Config, name: str) -> str:
    """The command that trains on a data set as the rows were asked; data/all.jsonl holds those that could be read."""
    data, usual = f"{_folder(config)}/data", Config()
    settings = {
        "run_dir": _tuned(config), "model.path": config.model.source or config.model.path,
        "data.path": f"{data}/all.jsonl", "train.mixture": f"{data}/{name}.jsonl",
    }  # fmt: skip
    chosen = {name: operator.attrgetter(name)(config) for name in AS_ASKED}
    settings |= {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in chosen.items()
        if value != operator.attrgetter(name)(usual)
    }
    flags = [shlex.quote(f"--config.{field}={value}") for field, value in settings.items()]
    return " ".join(["slick train --config=configs/base.py", *flags])
