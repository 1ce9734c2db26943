"""The settings of `slick longform` (docs/longform.md), a section of slick_jax.config."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

STAGES = ("entities", "texts", "claims", "beliefs", "arms", "train", "answers", "report")  # in their order
COMMANDS = ("longform", *(f"longform-{stage}" for stage in STAGES))


@dataclass(frozen=True)
class DomainsConfig:
    """The dials of the built-in domains."""

    seed: int = 0  # names, facts, how often they are told, and the documents
    names: tuple[str, ...] = ("biographies", "plots", "leaflets")  # which of them
    probe: int = 80  # entities a domain whose texts teach the probe
    train: int = 240  # those whose texts are fine-tuned on
    dev: int = 60  # those that choose the probe's layer and calibrate beliefs
    test: int = 100  # those that answers are scored on
    median_texts: float = 60.0  # median number of corpus texts about an entity (strength of knowledge)


@dataclass(frozen=True)
class OwnConfig:
    """The user's own domains, in place of the built-in ones (docs/longform_texts.md)."""

    paths: tuple[str, ...] = ()  # one a domain: JSONL or Parquet file, or folder of texts; its stem names the domain
    templates: tuple[str, ...] = ()  # prompt of an entity, with {name}: one for all domains or each; empty: rows' own
    shares: tuple[float, ...] = (0.3, 0.4, 0.1, 0.2)  # of entities, where rows name no split: probe, train, dev, test
    split_seed: int = 0  # of that deal


@dataclass(frozen=True)
class WriteConfig:
    """How texts are written: the un-tuned model's behind examples, and the answers that are scored."""

    temperature: float = 1.0  # of samples
    top_k: int = 40  # most likely tokens that a sample may take; 0: all
    max_tokens: int = 256  # most tokens of a text; a longer one is cut there
    stop: str = "\n\n"  # a text ends before this, or at an end-of-text token
    seed: int = 0  # noise of the samples
    rows: int = 256  # texts decoded together, over all devices; for memory and speed alone
    exemplars: int = 3  # entities of split probe whose references are the examples
    exemplar_seed: int = 0  # which ones
    answers: str = "greedy"  # how answers are decoded: 'greedy' or 'sample' (one, as above)


@dataclass(frozen=True)
class ClaimsConfig:
    """How texts become claims, and what says whether the reference supports them."""

    method: str = ""  # 'grammar', 'model' or 'sentence'; '': grammar for built-in domains, else sentence
    model: str = ""  # method 'model': the checkpoint that breaks sentences into claims
    max_tokens: int = 256  # method 'model': most tokens written for a sentence
    abstentions: tuple[str, ...] = ()  # how a text begins that has nothing to say; empty: usual English phrases
    verifier: str = ""  # 'facts', 'model' or 'module:function'; '': facts for built-in domains, else model
    verifier_model: str = ""  # verifier 'model': the checkpoint that reads the reference
    passages: int = 5  # of the reference that a claim is judged by


@dataclass(frozen=True)
class ProbeConfig:
    """The probe on hidden states."""

    strengths: tuple[float, ...] = (0.01, 0.1, 1.0)  # inverse L2 penalties (scikit-learn's C) that dev chooses from
    claims: int = 20_000  # claims of splits probe and dev it is made from at most, each
    seed: int = 0  # which ones, where there are more


@dataclass(frozen=True)
class PTrueConfig:
    """The question whether a claim is true."""

    form: str = "{prompt}\nStatement: {claim}\nThis statement is:"  # fields: {prompt} and {name} of the entity, {claim}
    verdicts: tuple[str, ...] = (" True", " False")  # the two answers
    examples: int = 0  # claims with their verdicts before the question; 8 help base models
    seed: int = 0  # which ones


@dataclass(frozen=True)
class FilterConfig:
    """What arms keep of their texts, and how they are made equally long (docs/longform_arms.md)."""

    granularity: str = "sentence"  # kept or dropped together: 'sentence', 'claim' or 'response'
    rule: str = "threshold"  # kept: 'threshold' (belief at least that) or 'share' (the best, until they hold the share)
    threshold: float = 0.5  # rule 'threshold': least calibrated belief; in tables, of what counts as believed
    share: float = 0.5  # rule 'share': of the source's claims
    claimless: str = "drop"  # sentences without a claim in filtered arms: 'drop' or 'keep'
    random_within: str = "all"  # random controls keep the same share 'all' over, or as many units in every 'text'
    scorer: str = "probe"  # whose belief is the model's own judgement
    texts_per_prompt: int = 1  # training texts of a prompt at most
    match: str = "tokens"  # what arms are made equal in: 'tokens', 'claims' or 'none'
    tolerance: float = 0.05  # part of the smallest arm by which others may be larger
    seed: int = 0  # random controls, ties, and what is dropped for length


@dataclass(frozen=True)
class LongformConfig:
    """Which text to fine-tune on so that long answers hold fewer errors (arXiv 2507.08371); `train` has the training.

    Runs: every arm and domain with `seeds`; `more_arms` in `more_domains` with `more_seeds`, too.
    """

    arms: tuple[str, ...] = ("GOLD", "GOLD+SELF", "GOLD+RANDOM", "GEN", "GEN+GOLD", "GEN+SELF", "GEN+RANDOM")  # trained
    seeds: tuple[int, ...] = (0,)  # of fine-tuning
    more_seeds: tuple[int, ...] = ()  # further ones for some runs
    more_arms: tuple[str, ...] = ()  # which arms; empty: all
    more_domains: tuple[str, ...] = ()  # in which domains; empty: all
    transfer: tuple[str, ...] = ("all",)  # arms whose first seed also answers about the other domains; 'all': every one
    samples: int = 1  # texts the un-tuned model writes about an entity
    resamples: int = 3  # further ones, that claims are looked up in for `consistency`
    scorers: tuple[str, ...] = ("probe", "p_true", "consistency", "logprob")  # of belief (docs/belief.md)
    context: str = "{prompt}\n"  # before a claim, for probe and logprob; fields: {prompt} and {name} of the entity
    calibration: str = "platt"  # raw score to belief, on dev: 'platt' or 'isotonic'
    margin: float = 1.0  # points by which an arm may lie below another in test (b) of the report
    gamma: float = 10.0  # claims that an answer needs for its full FActScore
    draws: int = 2000  # of the bootstrap of belief measures
    domains: DomainsConfig = field(default_factory=DomainsConfig)
    own: OwnConfig = field(default_factory=OwnConfig)
    write: WriteConfig = field(default_factory=WriteConfig)
    claims: ClaimsConfig = field(default_factory=ClaimsConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    p_true: PTrueConfig = field(default_factory=PTrueConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)

    def runs(self, domains: Sequence[str]) -> list[tuple[str, str, int]]:
        """(domain, arm, seed) of every fine-tuning run over `domains`, those of `more_seeds` last."""
        more = self.more_domains or domains, self.more_arms or self.arms, self.more_seeds
        return [*itertools.product(domains, self.arms, self.seeds), *itertools.product(*more)]

    def about(self, run: tuple[str, str, int], domains: Sequence[str]) -> list[str]:
        """The domains that the model of a run (domain, arm, seed) writes about: its own, and where transfer is asked
        for, the others."""
        own, arm, seed = run
        wide = seed == self.seeds[0] and not {arm, "all"}.isdisjoint(self.transfer)
        return [own, *(name for name in domains if name != own and wide)]

    @property
    def built_in(self) -> bool:
        """Whether the built-in domains are studied."""
        return not self.own.paths

    @property
    def claim_method(self) -> str:
        """`claims.method`, or its default."""
        return self.claims.method or ("grammar" if self.built_in else "sentence")

    @property
    def verifier(self) -> str:
        """`claims.verifier`, or its default."""
        return self.claims.verifier or ("facts" if self.built_in else "model")
