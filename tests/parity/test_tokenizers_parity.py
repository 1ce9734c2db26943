"""Token ids and chat prompts against transformers: real GPT-2 and SmolLM2, and small tokenizers of every class."""

import gzip
import itertools
import json

import pytest
import transformers

from slick_jax.data.examples import Example
from slick_jax.data.prompt_styles import Chat
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.data.tokenizer_classes import BYTE_LEVEL
from tests.data.chat_templates import TEMPLATES, chat_files
from tests.data.small_tokenizers import byte_level_files, metaspace_backend

TEXTS = [
    "Who wrote 'Dune' in 1965, and when?\nA:", "  two  spaces\t\ttab\n\n\nlines \n", "naïve café ﬁ Å Å 東京 🎲🎲",
    "a<s>b </s> c<mark> d <mark>\ne", "<s>", "x </s>", "don't DON'T we'll I'M", "",
]  # fmt: skip
DECODED = {  # flags as tokenizer_config.json writes them
    "0": {"content": "<s>", "special": True, "lstrip": False, "rstrip": False, "normalized": False},
    "1": {"content": "</s>", "special": True, "lstrip": False, "rstrip": True, "normalized": False},
}
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>"}
EXEMPLARS = [
    Example("1", "Who wrote 'Dune' <b>?", ("Frank Herbert",), "r"),
    Example("2", " Où est Zürich? \n", ("Suisse ",), "r"),
]


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def assert_equal(folder, texts=TEXTS):
    """Ids here are those of AutoTokenizer, framed and bare; an appended end-of-text is left out of prompts."""
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.from_folder(folder)
    found = ours.encode_batch(texts)
    alone = theirs("a", add_special_tokens=False)["input_ids"]
    end = 0 if theirs("a")["input_ids"][-len(alone) :] == alone else 1
    for text, ids, bare in zip(texts, found, ours.encode_batch(texts, framed=False), strict=True):
        expected = theirs(text)["input_ids"]
        assert ids == expected[: len(expected) - end], text
        assert bare == theirs(text, add_special_tokens=False)["input_ids"], text
    assert ours.named == theirs.special_tokens_map
    return theirs, ours


@pytest.fixture(scope="module")
def questions(real_data):
    """2,000 real questions of all relations with their answers."""
    with gzip.open(real_data / "entityquestions" / "entityquestions.test.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows = rows[:: len(rows) // 2000][:2000]
    texts = [f"Q: {row['question']}\nA: {row['answers'][0]}\n" for row in rows]
    assert len(texts) == 2000 and len({row["relation"] for row in rows}) == 24
    return texts


@pytest.mark.parametrize(
    "settings", [{}, {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True}, {"tokenizer_class": "Qwen2Tokenizer"}]
)
def test_gpt2_of_vocab_and_merges_on_real_questions(real_data, questions, tmp_path, settings):
    files = {
        name: gzip.decompress((real_data / "tokenizers" / "gpt2" / f"{name}.gz").read_bytes())
        for name in ("vocab.json", "merges.txt")
    }
    config = {"config.json": {"model_type": "gpt2"}} | ({"tokenizer_config.json": settings} if settings else {})
    assert_equal(write(tmp_path, files | config), questions)


@pytest.mark.parametrize("settings", [{}, {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>"}])
def test_smollm2_on_real_questions(real_data, questions, tmp_path, settings):
    packed = (real_data / "tokenizers" / "smollm2" / "tokenizer.json.gz").read_bytes()
    files = {"tokenizer.json": gzip.decompress(packed), "config.json": {"model_type": "llama"}}
    assert_equal(write(tmp_path, files | ({"tokenizer_config.json": settings} if settings else {})), questions)


@pytest.mark.parametrize("class_name", ["GPT2Tokenizer", "GPTNeoXTokenizerFast", "Qwen2Tokenizer"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"add_bos_token": True},
        {"add_bos_token": True, "add_eos_token": True, "add_prefix_space": True},
        {"additional_special_tokens": ["<mark>"]},
        {"added_tokens_decoder": {**DECODED, "999": {"content": "<mark>", "lstrip": True, "normalized": True}}},
    ],
)
def test_vocab_and_merges_of_every_class(tmp_path, class_name, settings):
    settings = {"tokenizer_class": class_name, **NAMED, **settings}
    assert_equal(write(tmp_path, byte_level_files() | {"tokenizer_config.json": settings}))


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "gpt2", "gpt_neox"])
def test_vocab_and_merges_of_a_model_type_alone(tmp_path, model_type):
    assert_equal(write(tmp_path, byte_level_files() | {"config.json": {"model_type": model_type}}))


MODEL_TYPES = (
    "llama", "mistral", "gemma", "qwen2", "granite", "phi3", "gpt2", "gpt_neox", "olmo2", "smollm3", "qwen3_moe",
)  # fmt: skip
CLASSES = [
    None, "LlamaTokenizer", "PreTrainedTokenizerFast", "GemmaTokenizerFast", "GPT2Tokenizer", "Qwen2Tokenizer", "Other",
]  # fmt: skip


@pytest.mark.parametrize("frames", [True, False])
@pytest.mark.parametrize("class_name", CLASSES)
def test_a_tokenizer_json_with_every_class_and_model_type(tmp_path, frames, class_name):
    metaspace = metaspace_backend(frames).to_str().encode()
    byte_level = byte_level_files(as_json=True)["tokenizer.json"]
    kinds = [metaspace] if class_name in ("GemmaTokenizerFast", "LlamaTokenizer") else [metaspace, byte_level]
    for number, (content, model_type, add) in enumerate(itertools.product(kinds, MODEL_TYPES, (None, True))):
        if content is metaspace and (class_name in BYTE_LEVEL or model_type.startswith(("g", "q"))):
            continue  # a byte-level pipeline over this vocabulary has no token for a blank: nothing to compare
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = NAMED | ({} if class_name is None else {"tokenizer_class": class_name})
        settings |= {} if add is None else {"add_bos_token": add, "add_eos_token": add}
        config = {"model_type": model_type}
        files = {"tokenizer.json": content, "tokenizer_config.json": settings, "config.json": config}
        assert_equal(write(folder, files))


@pytest.mark.parametrize(
    "settings",
    [
        {"added_tokens_decoder": {**DECODED, "77": {"content": "<mark>", "lstrip": True, "rstrip": True}}},
        {"added_tokens_decoder": DECODED, "extra_special_tokens": ["<mark>"], "pad_token": "<fill>"},
        {"additional_special_tokens": ["<mark>"], "bos_token": None},
        {"extra_special_tokens": {"mark_token": "<mark>"}},
        {"mark_token": "<mark>", "bos_token": {"__type": "AddedToken", "content": "<s>", "lstrip": True}},
    ],
)
@pytest.mark.parametrize("older", [{}, {"added_tokens.json": {"<mark>": 400}}])
def test_added_tokens_and_their_flags(tmp_path, settings, older):
    for number, content in enumerate([metaspace_backend().to_str().encode(), byte_level_files(True)["tokenizer.json"]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert_equal(write(folder, {"tokenizer.json": content, "tokenizer_config.json": NAMED | settings} | older))


def test_a_special_tokens_map_adds_to_settings_without_added_tokens(tmp_path):
    mark = {"content": "<mark>", "lstrip": True, "rstrip": False, "normalized": False}
    older = {"bos_token": mark, "pad_token": "</s>"}
    files = {"tokenizer.json": metaspace_backend().to_str().encode(), "special_tokens_map.json": older}
    assert_equal(write(tmp_path, files))


def assert_equal_chats(folder, options, texts):
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
    asked = ["Why <s> or <|im_end|> now?", "  In 1965,\n\nwhat?\n", "東京 🎲"]
    assert_equal_chats(write(tmp_path, files), options, asked)


def test_smollm2_chats_of_real_questions(real_data, questions, tmp_path):
    packed = (real_data / "tokenizers" / "smollm2" / "tokenizer.json.gz").read_bytes()
    settings = NAMED | {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": TEMPLATES["chatml"]}
    settings |= {"unk_token": "<|endoftext|>", "tokenizer_class": "GPT2Tokenizer"}
    files = {"tokenizer.json": gzip.decompress(packed), "tokenizer_config.json": settings}
    assert_equal_chats(write(tmp_path, files), {}, questions)
