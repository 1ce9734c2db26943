"""The engine as a whole: parts under way together, and programs that are compiled once."""

import jax

from slick_jax.knowledge import store
from slick_jax.knowledge.annotate import annotate
from slick_jax.knowledge.forward import Device
from slick_jax.settings.config_file import load_config

COMPILED = "/jax/core/compile/backend_compile_duration"


def test_nothing_is_compiled_after_the_warm_up_and_nothing_at_all_by_a_further_run(
    root, small_model, tmp_path, monkeypatch
):
    settings = {
        "model.path": small_model, "annotate.part_size": 16, "annotate.batch_tokens": 64, "data.splits": "test",
    }  # fmt: skip
    overrides = [f"--config.{name}={value}" for name, value in settings.items()]
    compiled, after, ends = [], [], []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compiled.append(name))
    warm_up, write = Device.warm_up, store.Parts.write

    def warmed(self, *rest):
        warm_up(self, *rest)
        after.append(compiled.count(COMPILED))

    def written(self, *rest):
        write(self, *rest)
        after.append(compiled.count(COMPILED))

    monkeypatch.setattr(Device, "warm_up", warmed)
    monkeypatch.setattr(store.Parts, "write", written)
    for run in ("first", "further"):
        config = [f"--config={root / 'tests' / 'small_world.py'}", *overrides, f"--config.run_dir={tmp_path / run}"]
        annotate(load_config(config, "annotate"))
        ends.append(compiled.count(COMPILED))
    first = after[: len(after) // 2]
    assert len(first) >= 7
    assert 0 < first[0] == first[-1], first
    assert ends[1] == ends[0]
