"""The stages of `slick longform`: what is written and read hangs on the settings as it does in a run."""

import dataclasses

import pytest

from slick_jax.config import Config
from slick_jax.planning.devices import CPU
from slick_jax.planning.longform import longform_stages
from slick_jax.planning.remarks import remarks_on
from slick_jax.planning.target import Target, abstract_mesh
from slick_jax.settings.longform import ClaimsConfig, DomainsConfig, LongformConfig, OwnConfig, WriteConfig
from tests.planning.test_annotating import SPEC

TARGET = Target(CPU, abstract_mesh((1, 1, 1)), "", 4e9)
LONGFORM = LongformConfig(
    arms=("GOLD", "GEN"), more_seeds=(1,), more_arms=("GEN",), more_domains=("plots",), resamples=3,
    domains=DomainsConfig(names=("plots", "leaflets"), probe=8, train=20, dev=5, test=10),
    write=WriteConfig(rows=4, max_tokens=32),
)  # fmt: skip


def stages(**changed):
    config = Config(longform=dataclasses.replace(LONGFORM, **changed))
    return {stage.name: stage for stage in longform_stages(SPEC, config, TARGET, "nothing is compiled")}


def test_beliefs_read_references_and_samples_and_no_resampled_text():
    once, twice = stages()["beliefs"], stages(samples=2)["beliefs"]
    gold, own = 20 + 10, 8 + 20 + 5 + 10  # entities of a domain that have such texts
    assert twice.flops / once.flops == pytest.approx((gold + 2 * own) / (gold + own))
    assert stages(resamples=9)["beliefs"].flops == once.flops
    assert stages(scorers=("probe",))["beliefs"].flops == once.flops / 2  # without P(True)


def test_texts_are_written_by_the_domain():
    """Of 43 entities one text and of 35 three more: 11 and 27 batches of four rows in each of two domains."""
    assert stages()["texts"].calls == 2 * (11 + 27) * 32
    assert stages(scorers=("probe",))["texts"].calls == 2 * 11 * 32  # none is written anew for `consistency`


@pytest.mark.parametrize(
    ("transfer", "models"), [((), 5 + 2), (("all",), 4 * 2 + 1 + 2), (("GEN",), 2 + 2 * 2 + 1 + 2)]
)
def test_models_answer_about_the_domains_that_transfer_says(transfer, models):
    """Four runs with the first seed and one more; BASE answers about both domains. Ten texts are three batches."""
    found = stages(transfer=transfer)["answers"]
    assert found.calls == models * 3 * 32 and found.told.startswith(f"{models} models and domains")


def test_work_of_second_checkpoints_is_told_to_be_left_out():
    def told(longform):
        return "\n".join(remarks_on(Config(longform=longform), TARGET, "", ["texts", "beliefs"], fresh=False))

    own = LongformConfig(own=OwnConfig(paths=("rows.jsonl",)), claims=ClaimsConfig(method="model"))
    assert "claims.method='model'" in told(own) and "5 passages of the reference is not counted" in told(own)
    assert "claims" not in told(LONGFORM)
