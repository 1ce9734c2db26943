"""The rules of the settings of `slick longform`: what is refused, and that built-in domains are named once."""

import dataclasses

import pytest

from slick_jax.commands import COMMANDS as ALL
from slick_jax.config import Config, ModelConfig
from slick_jax.longform import arms, claims
from slick_jax.longform.domains import DOMAINS
from slick_jax.settings.longform import (
    COMMANDS,
    ClaimsConfig,
    DomainsConfig,
    FilterConfig,
    LongformConfig,
    OwnConfig,
    PTrueConfig,
    WriteConfig,
)
from slick_jax.settings.rules import problems
from tests.longform.scripted import config_of, own_config


def test_defaults_are_those_of_the_rooms():
    settings = LongformConfig()
    assert DomainsConfig().names == DOMAINS and settings.arms == tuple(arm.name for arm in arms.ARMS)
    assert set(COMMANDS) == {name for name in ALL if name.startswith("longform")}
    assert claims.BySentence.name == LongformConfig(own=OwnConfig(("a.jsonl",))).claim_method


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"arms": ("GOLD", "BASE")}, "longform.arms: 'BASE' is unknown"),
        ({"arms": ("GOLD", "GEN", "GOLD")}, "longform.arms: ('GOLD', 'GEN', 'GOLD') names GOLD more than once"),
        ({"arms": (), "transfer": ()}, "longform.arms: names nothing"),
        ({"seeds": (0, 1, 0)}, "longform.seeds: (0, 1, 0) names 0 more than once"),
        ({"more_seeds": (3, 3)}, "longform.more_seeds: (3, 3) names 3 more than once"),
        ({"seeds": (0, 1), "more_seeds": (1,)}, "longform.more_seeds: (1,) are to be others than longform.seeds"),
        ({"more_arms": ("GEN", "GEN")}, "longform.more_arms: ('GEN', 'GEN') names GEN more than once"),
        ({"more_domains": ("plots", "plots")}, "longform.more_domains: ('plots', 'plots') names plots more than once"),
        ({"scorers": ("probe", "probe")}, "longform.scorers: ('probe', 'probe') names probe more than once"),
        ({"domains": DomainsConfig(names=("plots", "plots"))}, "longform.domains.names: ('plots', 'plots')"),
        ({"more_domains": ("poems",)}, "longform.more_domains: 'poems' is unknown; allowed: bio"),
        ({"transfer": ("GOLD+GOLD",)}, "longform.transfer: 'GOLD+GOLD' is unknown"),
        ({"resamples": 0}, "longform.resamples: 0 is too small"),
        ({"scorers": ("logprob",)}, "longform.filter.scorer: 'probe' is unknown; allowed: logprob"),
        ({"context": "{claim}"}, "longform.context='{claim}': stands before the claim"),
        ({"p_true": PTrueConfig(form="True?")}, "longform.p_true.form='True?': must hold {claim}"),
        ({"own": OwnConfig(("a/x.jsonl", "b/x.parquet"))}, "['x'] has no name of its own"),
        ({"own": OwnConfig(("x.jsonl",), templates=("Tell me.",))}, "does not name the entity"),
        ({"own": OwnConfig(shares=(0.5, 0.5, 0.5, 0.5))}, "longform.own.shares"),
        ({"own": OwnConfig(("x",)), "claims": ClaimsConfig(method="grammar")}, "which only built-in domains have"),
        ({"claims": ClaimsConfig(method="sentence")}, "'facts' looks parsed claims up"),
        ({"claims": ClaimsConfig(model="x")}, "which only claims.method='model' reads"),
        ({"filter": FilterConfig(granularity="response", random_within="text")}, "longform.filter.random_within"),
        ({"write": WriteConfig(exemplars=80)}, "longform.domains.probe: 80 entities"),
    ],
)
def test_bad_settings_are_told_once(settings, told):
    found = problems(Config(longform=LongformConfig(**settings)))
    assert [told in line for line in found] == [True], found


def test_what_the_commands_need(tmp_path):
    good = config_of(tmp_path)
    own = own_config(tmp_path, tmp_path)
    for command in COMMANDS:
        assert problems(good, command) == [] == problems(own, command)
    short = dataclasses.replace(good.train, max_target_tokens=900)
    bad = dataclasses.replace(good, run_dir="", model=ModelConfig(path="models/x", weights="int8"), train=short)
    told = problems(bad, "longform-claims")
    assert [line.partition(":")[0] for line in told] == [
        "config.run_dir", "config.model.path", "config.model.weights", "config.train.max_target_tokens",
    ]  # fmt: skip
    lost = LongformConfig(own=OwnConfig(("none.jsonl",)), write=good.longform.write)
    told = problems(dataclasses.replace(good, longform=lost), "longform")
    assert [line.partition(":")[0].removeprefix("config.") for line in told] == [
        "model.path", "longform.own.paths", "longform.claims.verifier_model",
    ]  # fmt: skip
