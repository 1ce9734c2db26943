"""Which class transformers' AutoTokenizer takes for a folder, and the pipelines that its classes build themselves.

Most tokenizers are what tokenizer.json says. For the classes of `CLASSES` transformers 5 takes only vocabulary, merges,
post-processor and added tokens from the files, and brings normalizer, pre-tokenizer and decoder itself.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXT_END = "<|endoftext|>"

# The class that transformers 5 registers for a model type; '' is the plain one, which follows tokenizer.json.
_OF_MODEL_TYPE = {
    "gemma": "GemmaTokenizer", "gemma2": "GemmaTokenizer", "gemma3_text": "GemmaTokenizer", "gpt2": "GPT2Tokenizer",
    "gpt_neox": "GPTNeoXTokenizer", "qwen2": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer",
    "qwen3_moe": "Qwen2Tokenizer", "granite": "", "mistral": "", "olmo2": "", "phi3": "",
}  # fmt: skip
_OVERRULED = ("qwen2",)  # model types whose folders often name a wrong class: the registered one is taken

Build = Callable[[dict[str, int], list[tuple[str, str]], Mapping[str, Any]], Tokenizer]


@dataclasses.dataclass(frozen=True)
class TokenizerClass:
    """A pipeline of transformers: how it is built, the special tokens that it names unless the folder does, and whether
    it drops the post-processor of tokenizer.json."""

    build: Build
    named: Mapping[str, str]
    drops_post_processor: bool = False


def class_name(settings: Mapping[str, Any], config: Mapping[str, Any], tokenizer_json: str | None) -> str:
    """The class for a folder: a key of `CLASSES`, or '' where tokenizer.json is followed as it stands.

    Args:
      settings, config: parsed tokenizer_config.json and config.json.
      tokenizer_json: its text; None where there is none, and then the name may also be one that is not known here.
    """
    named = str(settings.get("tokenizer_class") or config.get("tokenizer_class") or "").removesuffix("Fast")
    model_type = config.get("model_type")
    registered = _OF_MODEL_TYPE.get(model_type)
    if tokenizer_json is None:
        return registered if model_type in _OVERRULED else named or registered or ""
    if named == "LlamaTokenizer" and model_type not in _OVERRULED and '"ByteLevel"' in tokenizer_json:
        return ""  # Llama 3 and others: the class is that of the sentencepiece-like tokenizers
    if registered == "":
        return ""
    chosen = registered if not named or model_type in _OVERRULED else named
    return chosen if chosen in CLASSES else ""


def _gpt2(vocab: dict[str, int], merges: list[tuple[str, str]], settings: Mapping[str, Any]) -> Tokenizer:
    backend = Tokenizer(_byte_level_bpe(vocab, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")))
    backend.decoder = decoders.ByteLevel()
    return backend


def _gpt_neox(vocab: dict[str, int], merges: list[tuple[str, str]], settings: Mapping[str, Any]) -> Tokenizer:
    backend = _gpt2(vocab, merges, settings)
    backend.normalizer = normalizers.NFC()
    return backend


def _qwen2(vocab: dict[str, int], merges: list[tuple[str, str]], settings: Mapping[str, Any]) -> Tokenizer:
    backend = Tokenizer(_byte_level_bpe(vocab, merges))
    backend.normalizer = normalizers.NFC()
    prefix = bool(settings.get("add_prefix_space"))
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_QWEN2_WORDS), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False),
    ])  # fmt: skip
    backend.decoder = decoders.ByteLevel()
    return backend


def _llama(vocab: dict[str, int], merges: list[tuple[str, str]], settings: Mapping[str, Any]) -> Tokenizer:
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=True, byte_fallback=True))
    prefix = settings.get("add_prefix_space")
    prefix = True if prefix is None else bool(prefix)
    scheme = "never" if not prefix else "always" if settings.get("legacy", False) else "first"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    strip = [decoders.Strip(content=" ", left=1, right=0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return backend


def _gemma(vocab: dict[str, int], merges: list[tuple[str, str]], settings: Mapping[str, Any]) -> Tokenizer:
    unknown = settings.get("unk_token") or "<unk>"
    unknown = unknown["content"] if isinstance(unknown, dict) else unknown
    backend = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=True, unk_token=unknown, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous", invert=False)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return backend


def _byte_level_bpe(vocab: dict[str, int], merges: list[tuple[str, str]]) -> models.BPE:
    return models.BPE(
        vocab=vocab, merges=merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False
    )


CLASSES = {
    "GPT2Tokenizer": TokenizerClass(_gpt2, dict.fromkeys(("unk_token", "bos_token", "eos_token"), _TEXT_END)),
    "GPTNeoXTokenizer": TokenizerClass(
        _gpt_neox,
        {**dict.fromkeys(("unk_token", "bos_token", "eos_token"), _TEXT_END), "pad_token": "<|padding|>"},
        drops_post_processor=True,
    ),
    "Qwen2Tokenizer": TokenizerClass(_qwen2, dict.fromkeys(("unk_token", "eos_token", "pad_token"), _TEXT_END)),
    "LlamaTokenizer": TokenizerClass(_llama, {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}),
    "GemmaTokenizer": TokenizerClass(_gemma, {
        "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "mask_token": "<mask>",
    }),
}  # fmt: skip
BYTE_LEVEL = ("GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer")  # those that vocab.json and merges.txt can make
