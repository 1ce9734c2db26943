"""Which processes are at work on a study, and which of them is the last."""

import contextlib

import pytest

from slick_jax.processes import presence


def test_the_last_to_leave_knows_it(tmp_path):
    with contextlib.ExitStack() as first:
        alone = first.enter_context(presence.told(tmp_path))
        with presence.told(tmp_path) as other_alone:
            pass
        assert not other_alone()
    assert alone() and not (tmp_path / presence.FOLDER).exists()


def test_what_a_dead_process_left_does_not_count(tmp_path):
    (tmp_path / presence.FOLDER / "123-dead").mkdir(parents=True)
    (tmp_path / presence.FOLDER / presence.FAILURES).mkdir()
    (tmp_path / presence.FOLDER / "123-dead" / "lock").touch()
    with presence.told(tmp_path) as alone:
        pass
    assert alone() and not (tmp_path / presence.FOLDER).exists()


def test_one_that_fails_leaves_too(tmp_path):
    with pytest.raises(RuntimeError), presence.told(tmp_path):
        raise RuntimeError
    with presence.told(tmp_path) as alone:
        pass
    assert alone()
