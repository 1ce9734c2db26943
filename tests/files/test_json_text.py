"""JSON of others: the values that Python's reader gives for good UTF-8, and one kind of error for all else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slick_jax.files.json_text import MOST_LEVELS, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.booleans(), st.booleans())
def test_what_json_writes_is_read_with_and_without_a_byte_order_mark(value, mark, ascii_only, unique):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1)
    try:
        content = text.encode("utf-8-sig" if mark else "utf-8")
    except UnicodeEncodeError:  # half of a pair, which JSON can write and UTF-8 cannot
        content = json.dumps(value).encode()
    assert parse(content, unique) == parse(text, unique) == value


@pytest.mark.parametrize(
    "content, told",
    [
        (b"", "Expecting value"),
        (b'{"a": 1} {"a": 2}', "Extra data"),
        (b'{"a": 1,}', "double quotes|trailing comma"),
        (b"\xef\xbb\xbf\xef\xbb\xbf1", "Expecting value"),
        (b'"\xff"', "not UTF-8: invalid start byte at byte 1"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "double quotes"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * (MOST_LEVELS + 1) + b"]" * (MOST_LEVELS + 1), "nested too deeply"),
    ],
)
def test_anything_else_is_a_value_error_that_says_what_is_wrong(content, told):
    with pytest.raises(ValueError, match=told):
        parse(content)


def test_as_deep_as_is_allowed_and_brackets_in_texts():
    deep = b"[" * MOST_LEVELS + b"]" * MOST_LEVELS
    assert json.dumps(parse(deep)).encode() == deep
    assert parse(json.dumps("[" * 1000)) == "[" * 1000


def test_a_key_that_is_named_twice():
    text = b'{"a": {"b": 1, "b": 2}}'
    assert parse(text) == {"a": {"b": 2}}
    with pytest.raises(ValueError, match="names 'b' twice"):
        parse(text, unique=True)
