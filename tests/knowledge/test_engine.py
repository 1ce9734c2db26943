"""The engine as a whole: parts under way together, and programs that are compiled once."""

import jax

from slick_jax.config_file import load_config
from slick_jax.knowledge import store
from slick_jax.knowledge.annotate import annotate
from slick_jax.knowledge.forward import Device

COMPILED = "/jax/core/compile/backend_compile_duration"


def test_nothing_is_compiled_after_the_warm_up(root, small_model, tmp_path, monkeypatch):
    settings = {"run_dir": tmp_path, "model.path": small_model, "annotate.part_size": 48}
    overrides = [f"--config.{name}={value}" for name, value in settings.items()]
    config = load_config([f"--config={root / 'tests' / 'small_world.py'}", *overrides], "annotate")
    compiled, after = [], []
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
    annotate(config)
    assert len(after) >= 7
    assert after[0] > 0
    assert after[0] == after[-1], after
