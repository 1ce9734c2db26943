"""'module:function' of the user's own: found in the working folder, told apart by its code, and clear errors."""

import hashlib
import sys

import pytest

from slick_jax.errors import InputError
from slick_jax.settings.user_function import load


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, with a module of the user's; what was imported is forgotten again."""
    (tmp_path / "own_rules_of_a_test.py").write_text("LIMIT = 3\n\n\ndef close(a, b):\n    return abs(a - b) < LIMIT\n")
    (tmp_path / "broken_rules_of_a_test.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    yield tmp_path
    sys.modules.pop("own_rules_of_a_test", None)


def test_it_is_the_function_and_the_hash_of_its_file(here):
    function, code = load("own_rules_of_a_test:close", "annotate.match")
    assert function(1, 3) and not function(1, 4)
    assert code == hashlib.sha256((here / "own_rules_of_a_test.py").read_bytes()).hexdigest()
    assert load("math:sqrt", "annotate.match")[0](9) == 3


@pytest.mark.parametrize(
    "name, told",
    [
        ("close", "annotate.match='close': no such function; use squad, strict or 'module:function'"),
        (":close", "no such function"),
        ("own_rules_of_a_test:", "no such function"),
        ("own_rules_of_a_test:far", "'own_rules_of_a_test' has no function 'far'"),
        ("own_rules_of_a_test:LIMIT", "has no function 'LIMIT'"),
        ("no_rules_of_a_test:close", "importing 'no_rules_of_a_test' failed .*ModuleNotFoundError.*PYTHONPATH"),
        ("broken_rules_of_a_test:close", "failed .*No module named 'no_such_library'"),
    ],
)
def test_errors_name_the_setting_and_what_is_wrong(here, name, told):
    with pytest.raises(InputError, match=told):
        load(name, "annotate.match", "squad, strict")
