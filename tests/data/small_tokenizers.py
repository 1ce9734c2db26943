"""Tokenizers small enough to be written down: byte-level BPE as files, and a Llama-2-like one."""

import json

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from slick_jax.data.tokenizer import _byte_alphabet

MERGES = [
    ("Ġ", "w"), ("Ġ", "a"), ("r", "o"), ("ro", "t"), ("rot", "e"), ("Ġw", "rote"), ("W", "h"), ("Wh", "o"), ("1", "9"),
    ("6", "5"), ("19", "65"), ("'", "t"), ("Ċ", "Ċ"), ("Ġ", "Ġ"), ("#", "#"), ("Ã", "©"), ("Ġa", "n"), ("Ġan", "d"),
]  # fmt: skip


def byte_level_files(as_json: bool = False) -> dict[str, bytes]:
    """vocab.json and merges.txt of a byte-level BPE with <s> 0 and </s> 1; or its tokenizer.json with digits apart."""
    tokens = ["<s>", "</s>", *sorted(_byte_alphabet()), *("".join(pair) for pair in MERGES)]
    vocab = {token: i for i, token in enumerate(tokens)}
    if as_json:
        backend = tokenizers.Tokenizer(models.BPE(vocab, MERGES))
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        backend.decoder = decoders.ByteLevel()
        backend.add_special_tokens(["<s>", "</s>"])
        return {"tokenizer.json": backend.to_str().encode()}
    merges = "\n".join(["#version: 0.2", *map(" ".join, MERGES), ""])
    return {"vocab.json": json.dumps(vocab).encode(), "merges.txt": merges.encode()}


def metaspace_backend(frames: bool = True, vocab=("a", "b", "ab", "▁", "▁a", "c")) -> tokenizers.Tokenizer:
    """A Llama-2-like vocabulary: metaspace by normalizer, unknown characters as bytes, BOS and EOS added or not."""
    tokens = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], *vocab]
    merges = [("a", "b"), ("▁", "a")]
    backend = tokenizers.Tokenizer(
        models.BPE({token: i for i, token in enumerate(tokens)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    single = "<s> $A </s>" if frames else "$A"
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)])
    return backend
