"""The corpus as a model reads it: a tokenizer trained on it, and rows of tokens."""

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from slick_jax.data.corpus import Corpus
from slick_jax.data.tokenizer import Tokenizer

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unknown|>"
_LAST_PUNCTUATION = tokenizers.Regex(r"[.,;:?!]+(?=\s|$)")
_LINE_START = tokenizers.Regex(r"\n(?=\S)")


def train_tokenizer(world: Corpus, vocab_size: int) -> Tokenizer:
    """BPE over the corpus; a word has the same tokens after a blank and at the start of a line.

    Newlines and the punctuation that ends a word stand alone and every piece begins with a blank ('▁'), so decoded text
    has blanks before such punctuation, and none in O'Brien, J-pop or don't. In prose only words begin with a blank, so
    that decoded text is as it was but for a blank at the start of lines. Printable ASCII and what the facts are written
    with can always be written; other characters become the special token `<|unknown|>`.
    """
    backend = tokenizers.Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    lines = pre_tokenizers.Split("\n", "isolated")
    punctuation = pre_tokenizers.Split(_LAST_PUNCTUATION, "isolated")
    scheme = "first" if world.prose else "always"
    words = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    if world.prose:
        backend.normalizer = normalizers.Replace(_LINE_START, "\n ")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [lines, words, punctuation] if world.prose else [lines, punctuation, words]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    alphabet = dict.fromkeys(["\n", *map(chr, range(0x21, 0x7F))])
    for fact in (fact for examples in world.splits.values() for fact in examples):
        alphabet |= dict.fromkeys(char for char in fact.question + fact.answers[0] if not char.isspace())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, UNKNOWN],
        show_progress=False,
        initial_alphabet=list(alphabet),
    )
    backend.train_from_iterator(world.documents, trainer)
    end = backend.token_to_id(END_OF_TEXT)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", pair=f"{END_OF_TEXT} $A $B", special_tokens=[(END_OF_TEXT, end)]
    )
    settings = (
        f'{{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "{END_OF_TEXT}", '
        f'"eos_token": "{END_OF_TEXT}", "unk_token": "{UNKNOWN}", "clean_up_tokenization_spaces": false}}\n'
    )
    files = {
        "tokenizer.json": backend.to_str(pretty=True).encode("utf-8"),
        "tokenizer_config.json": settings.encode("utf-8"),
    }
    return Tokenizer(files)


def pack(world: Corpus, tokenizer: Tokenizer, row_tokens: int) -> np.ndarray:
    """The corpus as rows, int32 [N, row_tokens + 1].

    End-of-text opens every document and rows ignore where documents end. A row's last token is the next row's first,
    so that inputs `[:, :-1]` and targets `[:, 1:]` see every token once; an incomplete last row is left out.
    """
    stream = np.concatenate([np.asarray(ids, np.int32) for ids in tokenizer.encode_batch(world.documents)])
    n_rows = (len(stream) - 1) // row_tokens
    return stream[np.arange(n_rows)[:, None] * row_tokens + np.arange(row_tokens + 1)]
