"""Chat prompts against transformers' apply_chat_template: the same string, the same token ids."""

import gzip

import pytest
import transformers

from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat
from slick_jax.data.tokenizer import Tokenizer
from tests.data.chat_templates import NAMED, TEMPLATES, chat_files
from tests.parity.test_tokenizers_parity import questions, write  # noqa: F401

EXEMPLARS = [
    Example("1", "Who wrote 'Dune' <b>?", ("Frank Herbert",), "r"),
    Example("2", " Où est Zürich? \n", ("Suisse ",), "r"),
]


def assert_equal(folder, options, texts):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    style = Chat(Tokenizer.from_folder(folder), [f"{name}={value}" for name, value in options.items()])
    turns = [
        {"role": role, "content": text}
        for row in EXEMPLARS
        for role, text in (("user", row.question), ("assistant", row.answers[0]))
    ]
    prompts = [style.few_shot(EXEMPLARS, text) for text in texts]
    for text, prompt, tokens in zip(texts, prompts, style.encode(prompts), strict=True):
        chat = [*turns, {"role": "user", "content": text}]
        assert prompt == theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **options)
        found = theirs.apply_chat_template(chat, add_generation_prompt=True, **options)
        assert tokens == found["input_ids"]
    single = [{"role": "user", "content": "A\nB"}]
    found = theirs.apply_chat_template(single, tokenize=False, add_generation_prompt=True, **options)
    assert style.zero_shot("A\nB\n") == found


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("as_file", [False, True])
def test_prompts_are_those_of_apply_chat_template(tmp_path, name, kind, as_file):
    options = {"enable_thinking": False} if name == "thinking" else {}
    files = chat_files("unused" if as_file else TEMPLATES[name], kind)
    if as_file:
        files["chat_template.jinja"] = TEMPLATES[name].encode()
    assert_equal(write(tmp_path, files), options, ["Why <s> or <|im_end|> now?", "  In 1965,\n\nwhat?\n", "東京 🎲"])


def test_smollm2_chats_of_real_questions(real_data, questions, tmp_path):  # noqa: F811
    packed = (real_data / "tokenizers" / "smollm2" / "tokenizer.json.gz").read_bytes()
    settings = NAMED | {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": TEMPLATES["chatml"]}
    settings |= {"unk_token": "<|endoftext|>", "tokenizer_class": "GPT2Tokenizer"}
    files = {"tokenizer.json": gzip.decompress(packed), "tokenizer_config.json": settings}
    assert_equal(write(tmp_path, files), {}, questions)
