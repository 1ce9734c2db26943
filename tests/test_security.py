"""What SECURITY.md promises: nothing is unpickled or run, no shell, no formulas in CSV, no foreign markup in pages."""

import ast
import csv
import io
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slick_jax.files import csv_text
from slick_jax.longform import report
from tests.analysis import planted
from tests.analysis.test_report import Page, open_report
from tests.longform import planted_study

# Modules that unpickle, run what they are given, or start shells: none of the package imports them.
FORBIDDEN = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "torch", "yaml", "code", "pty",
    "telnetlib", "xmlrpc", "commands", "tarfile",
}  # fmt: skip
# Where code named by a config is run, a module chosen by name from a table of the package, or libc told of a handler.
RUNS_CODE = {
    "runpy": {"settings/config_file.py"}, "ctypes": {"processes/aborts.py"}, "importlib.import_module": {
        "__init__.py", "main.py", "settings/user_function.py", "models/families/__init__.py", "training/writers.py",
    },
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
METHODS = {
    "system", "popen", "spawnl", "spawnv", "spawnlp", "spawnvp", "posix_spawn", "execv", "execl", "execvp", "execlp",
    "extractall", "extract", "unpack_archive", "read_pickle", "to_pickle", "mktemp", "Markup",
}  # fmt: skip


def _name(node):
    """A dotted name as it is written, or ''."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _broken(file, tree, own):
    """The lines of a file that break a promise."""
    for node in ast.walk(tree):
        line = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            whole = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for one in whole:
                if one.partition(".")[0] in FORBIDDEN:
                    yield f"{line} imports {one}"
                if one in RUNS_CODE and own not in RUNS_CODE[one]:
                    yield f"{line} imports {one}"
        if not isinstance(node, ast.Call):
            continue
        name, named = _name(node.func), {word.arg: word.value for word in node.keywords}
        method = name.rpartition(".")[2] if "." in name and not name.endswith(".str.extract") else ""
        if name in CALLS or method in METHODS:
            yield f"{line} calls {name}"
        if name in RUNS_CODE and own not in RUNS_CODE[name]:
            yield f"{line} calls {name}"
        for word in ("shell", "allow_pickle", "trust_remote_code"):
            if word in named and getattr(named[word], "value", True) is not False:
                yield f"{line} sets {word}"
        escaped = getattr(named.get("autoescape"), "value", False) is True
        if name.endswith("Environment") and not escaped and own != "data/chat_template.py":  # which writes no HTML
            yield f"{line} turns escaping off"
        if name.endswith(".to_csv") and own != "files/csv_text.py":
            yield f"{line} writes CSV without csv_text"


def test_no_module_unpickles_evaluates_or_starts_a_shell(root):
    package = root / "slick_jax"
    files = sorted(package.rglob("*.py"))
    assert len(files) > 150
    broken = [one for path in files for one in _broken(
        path.relative_to(root), ast.parse(path.read_text()), path.relative_to(package).as_posix())]  # fmt: skip
    assert broken == []


@pytest.mark.parametrize("line", [
    "import pickle", "from torch import load", "eval(x)", "os.system(x)", "subprocess.run(x, shell=True)",
    "np.load(x, allow_pickle=True)", "f(trust_remote_code=flag)", "archive.extractall()", "importlib.import_module(x)",
    "table.to_csv(x)", "jinja2.Environment(autoescape=False)", "pd.read_pickle(x)", "markupsafe.Markup(x)",
])  # fmt: skip
def test_the_walk_finds_what_it_looks_for(line):
    assert list(_broken("x.py", ast.parse(line), "x.py"))


def test_templates_mark_nothing_as_safe(root):
    for path in (root / "slick_jax").rglob("*.html"):
        text = path.read_text()
        assert "|safe" not in text.replace(" ", "") and "autoescape" not in text
        assert text.count("<script") == (path.name == "base.html")  # whose script is known by its hash


# Reads a config, rows, a tokenizer and tensors while every unpickled name, process and shell is counted.
AUDIT = """
import sys
met = []
watched = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn")
from slick_jax.settings.config_file import load_config
from slick_jax.data.examples import read_rows
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.models.hf_folder import open_tensors
sys.addaudithook(lambda event, _: met.append(event) if event in watched else None)
folder = sys.argv[1]
load_config([f"--config={folder}/x.py"])
assert len(read_rows(f"{folder}/rows.jsonl", "train")) == 1
Tokenizer.from_folder(folder)
open_tensors(folder)["a"].read("a")
assert not met, met
"""


def test_reading_unpickles_nothing_and_starts_nothing(root, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    from tests.data.small_tokenizers import byte_level_files

    (tmp_path / "x.py").write_text("from slick_jax.config import defaults\nget_config = defaults\n")
    (tmp_path / "rows.jsonl").write_text('{"question": "q?", "answer": "a"}\n')
    (tmp_path / "tokenizer.json").write_bytes(byte_level_files(as_json=True)["tokenizer.json"])
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    done = subprocess.run([sys.executable, "-c", AUDIT, str(tmp_path)], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1", "＝1", "－1", '=HYPERLINK("x")')
PLAIN = ("", "a", "a=1", "'quoted'", "'", "1", "–", " =1", '"=1"')


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(FORMULAS + PLAIN) | st.text(), min_size=1, max_size=4))
def test_no_text_is_a_formula_and_every_text_comes_back(texts):
    written = csv_text.of(pd.DataFrame({"=name": texts, "n": -1.5}))
    rows = list(csv.reader(io.StringIO(written.replace("\0", "\ufffd"), newline="")))
    assert rows[0] == ["'=name", "n"]
    cells = [csv_text.guarded(text) for text in texts]
    assert all(cell[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠") for cell in cells)
    assert [csv_text.plain(cell) for cell in cells] == texts
    assert all(row[-1] == "-1.5" for row in rows[1:])
    assert [csv_text.guarded(text) for text in PLAIN] == list(PLAIN)


def test_numbers_keep_type_and_digits():
    table = pd.DataFrame({"a": [-1, 2], "b": [-0.1, float("nan")], "c": pd.Series([0.1, -0.2], dtype="float32")})
    table["d"], table["e"] = pd.Categorical(["=x", "y"]), [True, False]
    assert csv_text.of(table) == "a,b,c,d,e\n-1,-0.1,0.1,'=x,True\n2,,-0.2,y,False\n"


def test_names_of_others_in_the_study_report(tmp_path):
    names = ("=cmd|' /C calc'!A0", "$\\frac{1}$ & <b onclick=x>")
    planted.write_study(tmp_path, percents=(0, 50), known_only=(), epochs=4)
    planted.write_annotations(tmp_path, relations=names)
    page = open_report(tmp_path, variants=("unknown_0", "unknown_50"))
    assert all(name in page.text for name in names)
    assert page.foreign == [] and not [tag for tag, attributes in page.tags if "onclick" in attributes]
    rows = list(csv.reader(io.StringIO((tmp_path / "tables/t3_categories.csv").read_text())))
    assert {row[0] for row in rows[1:]} == {"'" + names[0], names[1], "TOTAL"}


def test_names_of_others_in_the_longform_report(tmp_path):
    domains = ("$\\frac{$", "<script>alert(1)</script>", "=1+1")
    measures, bins = planted_study.belief(domains)
    study = report.Study(
        "</title><script>x</script>", planted_study.scored(domains, n=40), planted_study.training(domains), measures,
        bins, method={"<b>": "<img src=x onerror=y>"}, missing=("<i>missing</i>",), flat=("=1+1",),
        skipped=pd.DataFrame({"domain": ["=1+1"], "what": ["@x"], "n": [-7]}), config={"<u>": "</pre><script>"},
    )  # fmt: skip
    page = Page(report.write(tmp_path, study).read_text())
    assert page.foreign == []
    assert not [tag for tag, attributes in page.tags if tag in ("i", "u") or "onerror" in attributes]
    for shown in (*domains, "<img src=x onerror=y>", "<i>missing</i>", "</pre><script>"):
        assert shown in page.text
    assert (tmp_path / "tables/skipped.csv").read_text() == "domain,what,n\n'=1+1,'@x,-7\n"
