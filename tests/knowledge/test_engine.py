"""The engine as a whole: parts under way together, and programs that are compiled once."""

import jax

from slick_jax.config_file import load_config
from slick_jax.knowledge import store
from slick_jax.knowledge.annotate import annotate

COMPILED = "/jax/core/compile/backend_compile_duration"


def test_nothing_is_compiled_after_the_warm_up(root, small_model, tmp_path, monkeypatch):
    """Warm-up is the first part: rows of its shapes come again and again, and so do its programs."""
    settings = {"run_dir": tmp_path, "model.path": small_model, "annotate.part_size": 48}
    overrides = [f"--config.{name}={value}" for name, value in settings.items()]
    config = load_config([f"--config={root / 'tests' / 'small_world.py'}", *overrides], "annotate")
    compiled, after = [], []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: compiled.append(name))
    write = store.Parts.write

    def written(self, *rest):
        write(self, *rest)
        after.append(compiled.count(COMPILED))

    monkeypatch.setattr(store.Parts, "write", written)
    annotate(config)
    assert len(after) >= 6
    assert after[0] > 0
    assert after[0] == after[-1], after
