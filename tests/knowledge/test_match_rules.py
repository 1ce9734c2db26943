"""Match rules besides the two of the package: added ones, users' own, and names that are none."""

import itertools
import sys
import types
import unicodedata

import pytest

from slick_jax.errors import InputError
from slick_jax.knowledge.match import RULES, Golds, Rule, matcher


def test_a_rule_added_to_the_package_is_viable_wherever_it_can_match(monkeypatch):
    def folded(text):
        return "".join(c for c in unicodedata.normalize("NFKD", text.strip().lower()) if not unicodedata.combining(c))

    monkeypatch.setitem(RULES, "accents", Rule(folded))
    golds = Golds(("Dusseldorf",), matcher("accents"))
    assert golds.match("Düsseldorf") == (False, True) and golds.match("Dusseldorf") == (True, True)
    assert all(golds.viable(beginning) for beginning in itertools.accumulate("Düsseldorf", initial=""))
    assert golds.viable("Rome"), "no test of its own: every text"
    assert golds.completions("Dü") == "sseldorf" and golds.completions("Rome") is None
    begins = lambda text, golds: any(folded(gold).startswith(folded(text)) for gold in golds)  # noqa: E731
    monkeypatch.setitem(RULES, "accents", Rule(folded, viable=begins))
    golds = Golds(("Dusseldorf",), matcher("accents"))
    assert golds.viable("Dü") and not golds.viable("Rome")


def test_users_rule(monkeypatch):
    def contains(text, golds):
        return any(gold in text for gold in golds)

    monkeypatch.setitem(sys.modules, "rules", types.SimpleNamespace(contains=contains, number=3))
    golds = Golds(("Paris",), matcher("rules:contains"))
    assert golds.match("It is Paris.") == (False, True)
    assert golds.viable("anything"), "always viable without a `viable` of its own"
    contains.viable = lambda text, golds: len(text) < 10
    golds = Golds(("A long name indeed",), matcher("rules:contains"))
    assert golds.viable("short")
    assert not golds.viable("x" * 10)
    assert golds.viable("A long name in"), "a strict hit is still possible"


def test_users_rule_that_fails_says_on_what(monkeypatch):
    def first_word(text, golds):
        return text.split()[0] == golds[0]

    monkeypatch.setitem(sys.modules, "rules", types.SimpleNamespace(first_word=first_word))
    with pytest.raises(InputError, match=r"first_word\('', \('Paris',\)\) failed with IndexError"):
        Golds(("Paris",), matcher("rules:first_word")).match("")


def test_users_rule_is_found_in_the_working_directory_and_known_by_its_source(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the rule is edited within the same second
    sources = []
    for body in ("text == golds[0]", "text in golds"):
        monkeypatch.delitem(sys.modules, "own_rules", raising=False)
        (tmp_path / "own_rules.py").write_text(f"def same(text, golds):\n    return {body}\n")
        rule = matcher("own_rules:same")
        assert Golds(("Paris",), rule).match("Paris") == (True, True)
        sources.append(rule.source)
    assert sources[0] != sources[1], "an edited rule is another protocol"


@pytest.mark.parametrize(
    "name", ["fuzzy", "rules:missing", "rules:number", "no_such_module:f", ":f", "rules:", "rules:odd", "a..b:f"]
)
def test_unknown_rule_names_the_setting(monkeypatch, name):
    def odd(text, golds):
        return True

    odd.viable = "yes"
    monkeypatch.setitem(sys.modules, "rules", types.SimpleNamespace(number=3, odd=odd))
    with pytest.raises(InputError, match=r"annotate\.match='"):
        matcher(name)
