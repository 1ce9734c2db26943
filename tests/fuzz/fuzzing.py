"""What all fuzz tests share: how many inputs, the two allowed outcomes, an end to every reader, and values gone wrong.

SLICK_FUZZ_INPUTS (make fuzz) is the number of inputs of a test with share 1, drawn anew every time; without it a small
number with a fixed seed.
"""

import contextlib
import copy
import faulthandler
import json
import os
import signal
from collections import Counter

import hypothesis
from hypothesis import strategies as st

from slick_jax.errors import InputError

MANY = int(os.environ.get("SLICK_FUZZ_INPUTS", 0))
SECONDS = 20  # that a reader may take for one input, a thousand times what it needs
COUNTED = Counter()  # taken and refused inputs of the running test (conftest.py)


def inputs(few, share=1.0):
    """Decorator: `few` inputs with a fixed seed, or `share` of SLICK_FUZZ_INPUTS."""
    return hypothesis.settings(
        max_examples=max(1, round(MANY * share)) if MANY else few, derandomize=not MANY, deadline=None, database=None,
        print_blob=True, suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip


class _Endless(BaseException):
    """No Exception: what a reader catches must not hide it."""


def attempt(read, *arguments, **named):
    """(True, what `read` returns) or (False, the message of its InputError). Any other error, and no end, is a bug."""
    def ring(*_):
        raise _Endless

    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)  # for what does not come back from C
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        found = True, read(*arguments, **named)
    except InputError as error:
        found = False, str(error)
    except _Endless as error:
        raise AssertionError(f"{read.__name__} was still at it after {SECONDS} s") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()
    COUNTED["taken" if found[0] else "refused"] += 1
    if not found[0]:
        assert found[1].strip() and len(found[1]) < 100_000, "a message is there to be read"
    return found


ODD_TEXTS = (
    "", " ", "\0", "\ud800", "\udcff", "\ufeff", "\u2028", "\x1b[31m", "=1+1", "a" * 300, "x/" * 3000, "../../up", "/",
    "nan", "inf", "-0", "1e400", "0x10", "٣", "²", "None", "True", "<script>", "{{ 1 }}", "$\\frac$", "e\u0301", "ß",
    "1" * 5000, "(" * 200, "[" * 5000, "\n", "a\nb", "\r", "\t", "'", '"', "\\", "module:function", "qa", "train",
)  # fmt: skip
ODD_NUMBERS = (
    0, 1, -1, 2, 3, 7, 64, 0.5, 1.5, -0.0, True, False, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400,
    float("nan"), float("inf"), -float("inf"), 5e-324, 1e-30, 1.7e308,
)  # fmt: skip
texts = st.sampled_from(ODD_TEXTS) | st.text(st.characters(), max_size=12)  # surrogates, too
numbers = st.sampled_from(ODD_NUMBERS) | st.integers() | st.floats()
json_values = st.recursive(
    st.none() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """Paths of a JSON value and of all in it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def changed(draw, value, most=3):
    """A JSON value with a few of its parts replaced, removed, added to or exchanged."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, most))):
        paths = list(places(value))
        path = paths[draw(st.integers(0, len(paths) - 1))]
        what = draw(st.sampled_from(("replace", "remove", "add", "copy")))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return draw(json_values)
            path, what = (), "add"
        *outer, key = path or (None,)
        holder = value
        for step in outer:
            holder = holder[step]
        if what == "remove":
            del holder[key]
        elif what == "replace":
            holder[key] = draw(json_values)
        elif what == "copy":
            other = value
            for step in paths[draw(st.integers(0, len(paths) - 1))]:
                other = other[step]
            holder[key] = copy.deepcopy(other)
        else:
            inner = holder if key is None else holder[key]
            if isinstance(inner, dict):
                inner[draw(texts)] = draw(json_values)
            elif isinstance(inner, list):
                inner.insert(draw(st.integers(0, len(inner))), draw(json_values))
    return value


ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1")


@st.composite
def written(draw, value):
    """The bytes of a JSON value in some encoding, perhaps with a key twice, deeply nested, or damaged."""
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    odd = draw(st.integers(0, 19))
    if odd == 0:
        depth = draw(st.sampled_from((900, 970, 990, 1000, 5000, 100_000)))
        text = text[:-1] + (', "deep": ' if len(text) > 2 else '"deep": ') + "[" * depth + "]" * depth + "}"
    elif odd == 1 and isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        text = text[:-1] + f", {json.dumps(key)}: {json.dumps(draw(json_values))}" + "}"
    encoding = draw(st.sampled_from(ENCODINGS))
    content = text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")
    return draw(damaged(content)) if odd == 2 else content


@st.composite
def damaged(draw, content, most=4):
    """Bytes with a few of them changed, cut, doubled or put in."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        size = len(content)
        start = draw(st.integers(0, size))
        stop = min(size, start + draw(st.sampled_from((0, 1, 2, 8, 100, 10_000))))
        what = draw(st.sampled_from(("flip", "cut", "end", "insert", "double", "zero")))
        if what == "flip" and start < size:
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del content[start:stop]
        elif what == "end":
            del content[start:]
        elif what == "insert":
            content[start:start] = draw(st.binary(max_size=8))
        elif what == "double":
            content[start:start] = content[start:stop]
        else:
            content[start:stop] = bytes(stop - start)
    return bytes(content)


@contextlib.contextmanager
def quiet():
    """Without what a library of another language prints of its own failure."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
