"""The base of adapters: where it was, or a hub id that is fetched only where it is needed."""

import shutil

import pytest

from slick_jax.errors import InputError
from slick_jax.models import hub, weights
from slick_jax.models.lora import LoraSpec
from slick_jax.training.adapters import Origin
from slick_jax.tuned import base_of


def test_a_base_on_the_hub_is_fetched_only_where_the_recorded_one_is_gone(small_model, tmp_path, monkeypatch):
    shutil.copytree(small_model, tmp_path / "snapshot")
    asked = []
    monkeypatch.setattr(hub, "_fetch", lambda *arguments: asked.append(arguments[:2]) or str(tmp_path / "snapshot"))
    lora, told = LoraSpec(4, 8.0, ("q_proj",)), weights.fingerprint(small_model)
    there = Origin(lora, str(small_model), told, "float32")
    assert base_of(there, "org/base@main") == str(small_model) and not asked
    gone = Origin(lora, str(tmp_path / "gone"), told, "float32")
    assert base_of(gone, "org/base@main") == str(tmp_path / "snapshot") and asked == [("org/base", "main")]
    with pytest.raises(InputError, match="the adapters need the model that they were trained on.*config.model.path"):
        base_of(gone, "")
