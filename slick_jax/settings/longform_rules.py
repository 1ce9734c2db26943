"""What the settings of `slick longform` must satisfy beyond names and types, and what its commands need."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from slick_jax.config import Config
from slick_jax.data.corpus import MAX_EXPOSURES
from slick_jax.errors import InputError
from slick_jax.longform.contexts import check_form
from slick_jax.settings.checks import above_zero, at_least, between, choice, seed
from slick_jax.settings.longform import COMMANDS, DomainsConfig, FilterConfig, LongformConfig, OwnConfig

ARMS = LongformConfig.arms
SCORERS = LongformConfig.scorers
NAME = "{name}"


def problems(config: Config, command: str) -> Iterator[str]:
    """Lines `longform.<setting>: <value and what is allowed>`; `command` adds what that command needs."""
    longform = config.longform
    yield from _runs(longform)
    yield from _belief(longform)
    yield from _domains(longform.domains)
    yield from _own(longform.own)
    yield from _write(longform)
    yield from _claims(longform)
    yield from _filter(longform.filter, longform.scorers)
    if command in COMMANDS:
        yield from _needs(config, command)


def _runs(longform: LongformConfig) -> Iterator[str]:
    names = longform.domains.names if longform.built_in else stems(longform.own)
    for setting, allowed in (("arms", ARMS), ("more_arms", longform.arms), ("more_domains", names)):
        for one in getattr(longform, setting):
            yield from choice(f"longform.{setting}", one, allowed)
    for one in longform.transfer:
        yield from choice("longform.transfer", one, ("all", *longform.arms))
    for setting in ("arms", "seeds", "more_arms", "more_domains", "transfer"):
        yield from _once(f"longform.{setting}", getattr(longform, setting), setting in ("arms", "seeds"))
    seeds = (*longform.seeds, *longform.more_seeds)
    yield from _once("longform.more_seeds", longform.more_seeds)
    if set(longform.seeds) & set(longform.more_seeds):
        yield f"longform.more_seeds: {longform.more_seeds} are to be others than longform.seeds={longform.seeds}"
    for one in seeds:
        yield from seed("longform.seeds, more_seeds", one)
    yield from at_least("longform.margin", longform.margin, 0)
    yield from above_zero("longform.gamma", longform.gamma)


def _once(setting: str, values: tuple, needed: bool = False) -> Iterator[str]:
    twice = [one for one, times in Counter(values).items() if times > 1]
    if twice:
        yield f"{setting}: {values} names {', '.join(map(str, twice))} more than once; name each once"
    if needed and not values:
        yield f"{setting}: names nothing; give one or more"


def _belief(longform: LongformConfig) -> Iterator[str]:
    for one in longform.scorers:
        yield from choice("longform.scorers", one, SCORERS)
    yield from _once("longform.scorers", longform.scorers)
    yield from at_least("longform.samples", longform.samples, 1)
    yield from at_least("longform.resamples", longform.resamples, int("consistency" in longform.scorers))
    yield from choice("longform.calibration", longform.calibration, ("platt", "isotonic"))
    yield from at_least("longform.draws", longform.draws, 100)
    yield from at_least("longform.probe.claims", longform.probe.claims, 2)
    yield from seed("longform.probe.seed", longform.probe.seed)
    yield from at_least("longform.p_true.examples", longform.p_true.examples, 0)
    yield from seed("longform.p_true.seed", longform.p_true.seed)
    strengths = longform.probe.strengths
    yield from _once("longform.probe.strengths", strengths)
    if not strengths or not all(one > 0 for one in strengths):
        yield f"longform.probe.strengths: {strengths} must name one number above 0 or more"
    if len(longform.p_true.verdicts) != 2 or len(set(longform.p_true.verdicts)) != 2:
        yield f"longform.p_true.verdicts: {longform.p_true.verdicts} are not two different answers"
    for form, name, claim in ((longform.context, "context", False), (longform.p_true.form, "p_true.form", True)):
        try:
            check_form(form, f"longform.{name}", claim)
        except InputError as error:
            yield str(error)


def _domains(domains: DomainsConfig) -> Iterator[str]:
    yield from seed("longform.domains.seed", domains.seed)
    for one in domains.names:
        yield from choice("longform.domains.names", one, DomainsConfig.names)
    yield from _once("longform.domains.names", domains.names, True)
    for name in ("probe", "train", "dev", "test"):
        yield from at_least(f"longform.domains.{name}", getattr(domains, name), 1)
    yield from above_zero("longform.domains.median_texts", domains.median_texts)
    if domains.median_texts > MAX_EXPOSURES / 2:
        yield (
            f"longform.domains.median_texts: {domains.median_texts:g} texts, of which no entity has more than"
            f" {MAX_EXPOSURES}; set it to {MAX_EXPOSURES // 2} or less, or exposure is not graded"
        )


def stems(own: OwnConfig) -> tuple[str, ...]:
    """The names of the user's domains: of their files, without endings such as .jsonl.gz."""
    return tuple(Path(path).name.partition(".")[0] for path in own.paths)


def _own(own: OwnConfig) -> Iterator[str]:
    names = stems(own)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not all(names):
        yield f"longform.own.paths: files name the domains, and {twice or 'one'} has no name of its own; rename it"
    if len(own.templates) not in (0, 1, len(own.paths)):
        yield (
            f"longform.own.templates: {len(own.templates)} for {len(own.paths)} paths; give one for all, or one for"
            " each"
        )
    for template in own.templates:
        if NAME not in template:
            yield f"longform.own.templates: {template!r} does not name the entity; write {NAME} where its name goes"
    if len(own.shares) != 4 or not all(share > 0 for share in own.shares) or abs(sum(own.shares) - 1) > 1e-6:
        yield f"longform.own.shares: {own.shares} are not four shares above 0 (probe, train, dev, test) that make 1"
    yield from seed("longform.own.split_seed", own.split_seed)


def _write(longform: LongformConfig) -> Iterator[str]:
    write = longform.write
    yield from above_zero("longform.write.temperature", write.temperature)
    yield from at_least("longform.write.top_k", write.top_k, 0)
    yield from at_least("longform.write.max_tokens", write.max_tokens, 2)
    yield from at_least("longform.write.rows", write.rows, 1)
    yield from at_least("longform.write.exemplars", write.exemplars, 0)
    yield from seed("longform.write.seed", write.seed)
    yield from seed("longform.write.exemplar_seed", write.exemplar_seed)
    yield from choice("longform.write.answers", write.answers, ("greedy", "sample"))
    if longform.built_in and longform.domains.probe <= write.exemplars:
        yield (
            f"longform.domains.probe: {longform.domains.probe} entities, of which write.exemplars={write.exemplars} are"
            " examples in prompts; give more"
        )


def _claims(longform: LongformConfig) -> Iterator[str]:
    claims, method, verifier = longform.claims, longform.claim_method, longform.verifier
    yield from choice("longform.claims.method", method, ("grammar", "model", "sentence"))
    if method == "grammar" and not longform.built_in:
        yield "longform.claims.method: 'grammar', which only built-in domains have; set it to 'model' or 'sentence'"
    if verifier not in ("facts", "model") and not all(verifier.partition(":")):
        yield f"longform.claims.verifier: {verifier!r} is unknown; allowed: facts, model, or your own module:function"
    if verifier == "facts" and method != "grammar":
        yield f"longform.claims.verifier: 'facts' looks parsed claims up, and claims.method is {method!r}; set 'model'"
    yield from at_least("longform.claims.max_tokens", claims.max_tokens, 2)
    yield from at_least("longform.claims.passages", claims.passages, 1)
    yield from _unread("model", claims.model, "method", method)
    yield from _unread("verifier_model", claims.verifier_model, "verifier", verifier)
    if any(not phrase.strip() for phrase in claims.abstentions):
        yield f"longform.claims.abstentions: {claims.abstentions!r} holds an empty phrase"


def _unread(name: str, value: str, by: str, chosen: str) -> Iterator[str]:
    if value and chosen != "model":
        yield f"longform.claims.{name}: {value!r}, which only claims.{by}='model' reads; it is {chosen!r}"


def _filter(settings: FilterConfig, scorers: tuple[str, ...]) -> Iterator[str]:
    for name, allowed in {
        "granularity": ("sentence", "claim", "response"), "rule": ("threshold", "share"),
        "claimless": ("drop", "keep"), "random_within": ("all", "text"), "match": ("tokens", "claims", "none"),
        "scorer": scorers,
    }.items():  # fmt: skip
        yield from choice(f"longform.filter.{name}", getattr(settings, name), allowed)
    if settings.granularity == "response" and settings.random_within == "text":
        yield "longform.filter.random_within: 'text' draws within texts, which granularity 'response' keeps whole"
    yield from between("longform.filter.threshold", settings.threshold, 0, 1)
    if not 0 < settings.share <= 1:
        yield f"longform.filter.share: {settings.share} is no share of the claims; give more than 0, up to 1"
    yield from at_least("longform.filter.texts_per_prompt", settings.texts_per_prompt, 1)
    yield from at_least("longform.filter.tolerance", settings.tolerance, 0)
    yield from seed("longform.filter.seed", settings.seed)


def _needs(config: Config, command: str) -> Iterator[str]:
    longform, train = config.longform, config.train
    if not config.run_dir:
        yield f"run_dir: empty, and `slick {command}` needs it; give the folder that results go to"
    if longform.built_in and config.model.path:
        yield (
            "model.path: `slick longform` makes its own model of the built-in domains; leave it empty, or name your own"
            " domains as longform.own.paths"
        )
    if not longform.built_in and not config.model.path:
        yield f"model.path: empty, and `slick {command}` needs the model to study; give a Hugging Face folder or hub id"
    for path in longform.own.paths:
        if not os.path.exists(path):
            yield f"longform.own.paths: {path!r} does not exist; give a JSONL or Parquet file, or a folder of texts"
    for name, value, by, chosen in (
        ("model", longform.claims.model, "method", longform.claim_method),
        ("verifier_model", longform.claims.verifier_model, "verifier", longform.verifier),
    ):
        if chosen == "model" and not value:
            yield f"longform.claims.{name}: empty, and claims.{by} is 'model'; give a checkpoint, or another {by}"
    if config.model.weights:
        yield f"model.weights: {config.model.weights!r} is for `slick annotate` alone; leave it empty"
    if train.variant or train.mixture or train.seed:
        yield "train.variant, mixture, seed: `slick longform` takes longform.arms and seeds; leave the three unset"
    if train.max_target_tokens <= longform.write.max_tokens:
        yield (
            f"train.max_target_tokens: {train.max_target_tokens}, and texts have up to longform.write.max_tokens="
            f"{longform.write.max_tokens}; give more, enough for the longest reference"
        )
