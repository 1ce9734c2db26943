"""Chat prompts: the same texts and tokens wherever a question is asked, shared prefixes, and where an answer ends."""

import json

import numpy as np
import pytest

from slick_jax.config import AnnotateConfig
from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat, Qa, prompt_style
from slick_jax.data.prompts import draft_answers, tokenise_prompts
from slick_jax.data.target_tokens import target_tokens
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.errors import InputError
from tests.data.chat_templates import AS_QA, CHATML, CHECKED, DATED, THINKING, chat_files

ROWS = [Example(str(n), f"Who wrote {n}?", (f"and {n}",), "r") for n in range(8)]


def tokenizer_of(template, kind="byte_level"):
    return Tokenizer(chat_files(template, kind))


def spelled(tokenizer, tokens):
    return b"".join(tokenizer.token_bytes[token] for token in tokens).decode()


def test_exemplars_are_turns_and_the_question_comes_last():
    style = Chat(tokenizer_of(CHATML))
    assert style.few_shot(ROWS[:1], "Why?") == (
        "<|im_start|>user\nWho wrote 0?<|im_end|>\n<|im_start|>assistant\nand 0<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert style.zero_shot("Answer.\nWhy?\n") == "<|im_start|>user\nAnswer.\nWhy?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("template", "options", "before", "stop"),
    [
        (CHATML, (), "", "<|im_end|>"), (DATED, ("date_string=26 Jul 2024",), "", "<|im_end|>"),
        (CHECKED, (), " ", "</s>"), (THINKING, ("enable_thinking=False",), "", "<|im_end|>"), (AS_QA, (), " ", "Ċ"),
    ],
)  # fmt: skip
def test_what_stands_around_an_answer_is_read_off_the_template(template, options, before, stop):
    tokenizer = tokenizer_of(template)
    style = Chat(tokenizer, options)
    assert (style.before, tokenizer.backend.id_to_token(style.stop)) == (before, stop)
    assert style.end_of_answer("the model") == style.stop and tokenizer.is_stop[style.stop]
    for row, (draft,) in zip(ROWS, draft_answers(style, ROWS), strict=True):
        assert draft.text == before + row.answers[0] and draft.stop == style.stop
        assert spelled(tokenizer, draft.tokens) == draft.text


@pytest.mark.parametrize("template", [CHATML, DATED, CHECKED])
@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_questions_share_their_exemplars(template, kind):
    style = Chat(tokenizer_of(template, kind))
    sets = {0: ROWS[:3], 1: ROWS[3:6]}
    table, kept = tokenise_prompts(style, [(row, list(sets.items())) for row in ROWS[6:]], chunk=3)
    for number, exemplars in sets.items():
        whole = style.encode([style.few_shot(exemplars, row.question) for row in ROWS[6:]])
        prefix = table.prefix(number).tolist()
        assert [prefix + table.rest(row[number]).tolist() for row in kept] == whole
        alone = style.encode([style.few_shot([], row.question) for row in ROWS[6:]])
        assert all(len(one) - len(prefix) <= len(own) for one, own in zip(whole, alone, strict=True))


def test_no_bos_is_added_to_that_of_the_template():
    tokenizer = tokenizer_of(DATED)
    (tokens,) = Chat(tokenizer).encode([Chat(tokenizer).few_shot([], "Why?")])
    bos = tokenizer.backend.token_to_id("<s>")
    assert tokens.count(bos) == 1 and tokens[0] == bos and Qa(tokenizer).encode(["Why?"])[0][0] == bos


def test_a_template_of_qas_texts_gives_qas_prompts_and_drafts():
    tokenizer = tokenizer_of(AS_QA)
    chat, qa = Chat(tokenizer), Qa(tokenizer)
    assert chat.encode([chat.few_shot(ROWS[:4], "Why?")]) == qa.encode([qa.few_shot(ROWS[:4], "Why?")])
    assert draft_answers(chat, ROWS) == draft_answers(qa, ROWS)
    assert chat.name != qa.name


def test_training_and_evaluation_put_the_question_in_a_turn():
    style = Chat(tokenizer_of(CHECKED))
    ((prompt, target),) = target_tokens(style, ["Answer.\nWhy?\n"], ["and 1"])
    assert prompt == style.encode(["<s> [INST] Answer.\nWhy? [/INST]"])[0]
    assert spelled(style.tokenizer, target) == " and 1"


def test_the_name_tells_template_options_and_date_apart():
    cases = [(CHATML, ()), (DATED, ("date_string=1 May 2024",)), (DATED, ("date_string=2 May 2024",))]
    names = [Chat(tokenizer_of(template), options).name for template, options in cases]
    assert len(set(names)) == 3 and "1 May 2024" in names[1]


def test_all_prompts_of_a_run_have_one_date(monkeypatch):
    import datetime

    style = Chat(tokenizer_of(DATED))
    monkeypatch.setattr(datetime, "datetime", None)
    assert style.few_shot([], "Why?") == style.few_shot([], "Why?")


def test_the_setting_chooses_the_style():
    tokenizer = tokenizer_of(THINKING)
    assert type(prompt_style(AnnotateConfig(), tokenizer)) is Qa
    options = ("enable_thinking=false",)
    assert prompt_style(AnnotateConfig(prompt_style="chat", chat_options=options), tokenizer).before == ""


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (None, "no chat template: neither chat_template.jinja"),
        ("{% if %}", "not valid Jinja"),
        (THINKING, "enable_thinking=false"),
        ("{{ raise_exception('no users here') }}", "refuses a chat of user .*no users here"),
        ("{{ messages.__class__.__mro__ }}{{ ''.__class__.__subclasses__() }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% set n = namespace() %}{% set n._x = 1 %}", "SecurityError"),
        ("no messages", "does not follow"),
        ("{% for m in messages %}{{ '<|im_end|>' if m.role == 'assistant' }}{{ m.content }}{% endfor %}", "not follow"),
        ([{"name": "tool_use", "template": CHATML}], "no template named default"),
    ],
)
def test_templates_that_cannot_be_used_are_refused(template, told):
    with pytest.raises(InputError, match=told):
        Chat(tokenizer_of(template))


def test_where_the_template_is_read(tmp_path):
    files = chat_files([{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}])
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert Tokenizer.from_folder(tmp_path).chat_template == CHATML
    (tmp_path / "chat_template.jinja").write_text(DATED)
    assert Tokenizer.from_folder(tmp_path).chat_template == DATED


def test_special_ids_stop(tmp_path):
    tokenizer = tokenizer_of(CHATML)
    special = [tokenizer.backend.token_to_id(text) for text in ("<s>", "</s>", "<|im_start|>", "<|im_end|>")]
    assert tokenizer.is_stop[special].all()
    assert not np.any([tokenizer.is_stop[token] for token in tokenizer.encode("and Who wrote")[1:]])
    assert json.loads(tokenizer.files["tokenizer_config.json"])["bos_token"] == "<s>"
