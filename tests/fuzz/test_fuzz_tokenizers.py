"""Tokenizer files and chat templates: what is taken encodes as the tokenizers library does."""

import json
import random

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from slick_jax.data.chat_template import ChatTemplate
from slick_jax.data.tokenizer import Tokenizer
from tests.data.small_tokenizers import byte_level_files, metaspace_backend
from tests.fuzz.fuzzing import ODD_NUMBERS, attempt, changed, damaged, inputs, json_values, quiet, texts, written

BYTE_LEVEL = json.loads(byte_level_files(as_json=True)["tokenizer.json"])
METASPACE = json.loads(metaspace_backend().to_str())
SETTINGS = {
    "tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": {"content": "</s>", "special": True},
    "unk_token": "<s>", "add_bos_token": True, "additional_special_tokens": ["<x>"], "chat_template": "{{ messages }}",
    "added_tokens_decoder": {"0": {"content": "<s>", "special": True, "normalized": False}},
}  # fmt: skip
OTHERS = {
    "special_tokens_map.json": {"bos_token": "<s>", "eos_token": {"content": "</s>"}},
    "added_tokens.json": {"<more>": 400},
    "config.json": {"model_type": "gpt2", "tokenizer_class": "LlamaTokenizer"},
}
TEXTS = ("Who wrote it in 1965?", "naïve é\n\n  x", "", "<s>a</s>", "\0\u2028😀", "a" * 500)
PARTS = ("model", "pre_tokenizer", "decoder", "normalizer", "post_processor", "added_tokens", "truncation", "padding")


def _sound(seed):
    """A tokenizer.json of either kind, some of whose parts are the other kind's."""
    rng = random.Random(seed)
    first, second = rng.sample([BYTE_LEVEL, METASPACE], 2)
    return first | ({part: second.get(part) for part in rng.sample(PARTS, 1)} if rng.random() < 0.3 else {})


@st.composite
def tokenizer_json(draw):
    """A tokenizer.json changed where that matters: its vocabulary and merges are large, so they get their own turn."""
    made = json.loads(json.dumps(_sound(draw(st.integers(0, 50)))))
    for _ in range(draw(st.integers(1, 2))):
        what = draw(st.integers(0, 5))
        model = made.get("model")
        if what == 0 and isinstance(model, dict) and isinstance(model.get("vocab"), dict):
            token = draw(st.sampled_from(sorted(model["vocab"])) | st.sampled_from(("<0xZZ>", "<0x+1>", "<0x-1>", "▁▁"))
                         | texts)  # fmt: skip
            model["vocab"][token] = draw(st.sampled_from(ODD_NUMBERS) | st.integers(0, 2**32))
        elif what == 1 and isinstance(model, dict) and isinstance(model.get("merges"), list) and model["merges"]:
            model["merges"][draw(st.integers(0, len(model["merges"]) - 1))] = draw(
                st.sampled_from(("a", "a b", "x y z", "")) | st.lists(texts, max_size=3) | json_values
            )
        elif what == 2:
            made["added_tokens"] = draw(st.just([]) | st.lists(st.fixed_dictionaries(
                {"id": st.integers(0, 500) | st.sampled_from(ODD_NUMBERS), "content": texts, "special": st.booleans(),
                 "single_word": st.just(False), "lstrip": st.just(False), "rstrip": st.just(False),
                 "normalized": st.booleans()}), max_size=2))  # fmt: skip
        else:
            part = draw(st.sampled_from(PARTS))
            if part != "model":
                made[part] = draw(changed(made[part]) if made.get(part) else json_values)
            else:
                field = draw(st.sampled_from(("type", "dropout", "unk_token", "byte_fallback", "fuse_unk")))
                made["model"] = (made.get("model") or {}) | {field: draw(json_values)}
    return made


@st.composite
def folders(draw):
    """{file name: bytes} of a tokenizer: tokenizer.json or vocabulary and merges, and other files beside it."""
    if draw(st.integers(0, 3)):
        made = draw(tokenizer_json())
        content = json.dumps(made).encode("utf-8", "surrogatepass")
        files = {"tokenizer.json": draw(damaged(content)) if draw(st.integers(0, 9)) == 0 else content}
    else:
        files = {name: draw(damaged(content)) if draw(st.integers(0, 4)) == 0 else content
                 for name, content in byte_level_files().items()}  # fmt: skip
        files["tokenizer_config.json"] = json.dumps(SETTINGS).encode()
    if draw(st.booleans()):
        files["tokenizer_config.json"] = draw(changed(SETTINGS).flatmap(written))
    for name, content in OTHERS.items():
        if draw(st.integers(0, 5)) == 0:
            files[name] = draw((changed(content) | st.just(content)).flatmap(written))
    if draw(st.integers(0, 9)) == 0:
        files["chat_template.jinja"] = draw(st.binary(max_size=9) | st.text(max_size=9).map(str.encode))
    return files


def _use(files, n_vocab):
    tokenizer = Tokenizer(files, n_vocab)
    return tokenizer, tokenizer.encode_batch(list(TEXTS), framed=False), tokenizer.fingerprint()


@inputs(150)
@given(folders(), st.sampled_from((None, None, 300, 400)))
@example({"tokenizer.json": json.dumps(BYTE_LEVEL).encode()}, None)
@example({"tokenizer.json": json.dumps(METASPACE).encode()}, 300)
def test_tokenizer_files(files, n_vocab):
    with quiet():
        taken, found = attempt(_use, files, n_vocab)
    if not taken:
        return
    tokenizer, rows, _ = found
    assert tokenizer.size <= 2**24 and len(tokenizer.token_bytes) == len(tokenizer.is_stop) == tokenizer.size
    assert all(0 <= one < tokenizer.size for row in rows for one in row)
    assert all(type(one) is int for one in tokenizer.eos_ids)
    for data in (b"Who wrote", b"\n", b"\xff", b""):
        ids = tokenizer.longest_match(data)
        assert data.startswith(b"".join(tokenizer.token_bytes[one] for one in ids))
    if set(files) == {"tokenizer.json"}:
        theirs = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode())
        theirs.no_truncation()
        theirs.no_padding()
        assert [one.ids for one in theirs.encode_batch(list(TEXTS), add_special_tokens=False)] == rows


PIECES = (
    "{{ messages[0]['content'] }}", "{% for m in messages %}", "{{ m.role }}", "{% endfor %}", "{% if bos_token %}",
    "x", "{% endif %}", "{{ raise_exception('no') }}", "{{ strftime_now('%Y') }}", "{% generation %}",
    "{% endgeneration %}", "{{ ''.__class__ }}", "{{ messages.append(1) }}", "{% set ns = namespace(a=1) %}",
    "{% set ns.a = 2 %}", "{{ 1 / 0 }}", "{{ [1] | tojson }}", "{{ m | tojson(indent='x') }}", "{% macro f() %}",
    "{% endmacro %}", "{{ f() }}", "{{", "{{ cycler.__init__.__globals__ }}", "{{ self.__init__ }}",
    "{% include 'a' %}", "{% import 'os' as o %}", "%}", "{%", "{{ dict.__class__ }}",
    "{{ lipsum.__globals__['os'] }}", "{{ '%s' | format(messages) }}", "{{ range(10**9) }}", "{% break %}",
    "{{ messages | map(attribute='__class__') | list }}", "{{ '{0.__class__}'.format(messages) }}", "\ud800",
    "{{ namespace(__class__=1) }}", "{{ (((((1))))) }}", "{{ " + "(" * 400, "{{ 'a' * 10**12 }}", "{{ x.y.z }}",
)  # fmt: skip
MESSAGES = [{"role": "user", "content": "Wer <b>?"}, {"role": "assistant", "content": "SECRET"}]


def _render(source, named):
    return ChatTemplate(source, named, {"enable_thinking": False}, "here").render(MESSAGES, add_generation_prompt=True)


@inputs(150, 0.7)
@given(
    st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | texts,
    st.dictionaries(st.sampled_from(("bos_token", "messages", "self", "tools")) | texts, texts, max_size=1),
)
@example("{% for a in messages %}" * 200 + "{% endfor %}" * 200, {})
@example("{% if 1 %}" * 2000 + "{% endif %}" * 2000, {})
def test_chat_templates(source, named):
    taken, text = attempt(_render, source, named)
    if taken:
        assert isinstance(text, str)
        for leak in ("<class", "<function", "<module", "<bound method", "<built-in", "jinja2.", "slick_jax"):
            assert leak not in text or leak in source, leak


@pytest.mark.parametrize("reach", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ cycler.__init__.__globals__.os.system('true') }}",
    "{{ messages.__init__.__globals__ }}", "{{ (messages | attr('__class__')) }}", "{{ strftime_now.__self__ }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}", "{{ raise_exception.__globals__ }}",
    "{% set _ = messages.append('x') %}", "{% include '/etc/passwd' %}",
])  # fmt: skip
def test_a_template_cannot_reach_python(reach):
    taken, text = attempt(_render, reach, {})
    assert not taken or text == ""
