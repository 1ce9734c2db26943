"""Text to token ids as transformers does it, and token ids to the bytes they stand for."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tokenizers

from slick_jax.errors import InputError

_SAVED_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class Tokenizer:
    """A `tokenizer.json` together with what decides prompts and stops: BOS, end-of-text ids, the bytes of every token.

    Attributes:
      size: number of ids; rows of the model's vocabulary when `n_vocab` was given.
      n_ids: ids from here on are padding rows of the vocabulary.
      newline: the stop that ends a line, the shortest token that holds a newline.
      token_bytes: list of `size` bytes objects, what each token adds to a running text; empty for special tokens and
        for ids that the tokenizer does not have (padding rows of a vocabulary).
      is_stop: bool [size]; the token ends an answer: its text holds a newline, or it is an end-of-text id, or special,
        or an id that the tokenizer does not have.
      eos_ids: end-of-text ids, of generation_config.json, else config.json, else tokenizer_config.json.
    """

    def __init__(
        self,
        files: dict[str, bytes],
        n_vocab: int | None = None,
        eos_ids: Iterable[int] | None = None,
        where: str = "tokenizer.json",
    ):
        """`files`: name -> content, of which `tokenizer.json` is required; `where` names the source in errors."""
        self.files = {name: files[name] for name in _SAVED_FILES if name in files}
        settings = _parse(files.get("tokenizer_config.json", b"{}"), f"{where}: tokenizer_config.json")
        description = _parse(files["tokenizer.json"], where)
        try:
            self.backend = tokenizers.Tokenizer.from_str(files["tokenizer.json"].decode("utf-8"))
        except Exception as error:  # the Rust side raises bare Exception
            raise InputError(
                f"{where}: not a tokenizer of the `tokenizers` library ({error}); export it again with "
                "`AutoTokenizer.from_pretrained(...).save_pretrained(folder)`"
            ) from error
        self.backend.no_truncation()
        self.backend.no_padding()

        vocab = self.backend.get_vocab(with_added_tokens=True)
        special = _special_ids(self.backend, vocab, settings)
        self.size = n_vocab or max(vocab.values()) + 1
        self.n_ids = min(self.size, max(vocab.values()) + 1)
        outside = [token for token, i in vocab.items() if i >= self.size and i not in special]
        if outside:
            raise InputError(
                f"{where}: token {outside[0]!r} has id {vocab[outside[0]]}, but the model's vocabulary "
                f"has only {self.size} rows; take the tokenizer.json that belongs to this checkpoint"
            )
        self.token_bytes = _token_bytes(description, self.backend, vocab, special, self.size, where)
        named_eos = vocab.get(_content(settings.get("eos_token")))
        self.eos_ids = tuple(eos_ids) if eos_ids is not None else () if named_eos is None else (named_eos,)

        held = np.zeros(self.size, bool)
        held[[i for i in vocab.values() if i < self.size]] = True
        self.is_stop = ~held | np.array([b"\n" in text for text in self.token_bytes])
        self.is_stop[[i for i in {*special, *self.eos_ids} if i < self.size]] = True
        ends = [i for i, text in enumerate(self.token_bytes) if b"\n" in text]
        self.newline = min(ends, key=lambda i: (len(self.token_bytes[i]), i)) if ends else next(iter(self.eos_ids), 0)

        self._bos, self._n_trailing = self._frame(vocab, settings)
        self._by_bytes: dict[bytes, int] = {}
        for i in np.flatnonzero(~self.is_stop):
            if self.token_bytes[i]:
                self._by_bytes.setdefault(self.token_bytes[i], int(i))
        lengths: dict[int, set[int]] = {}
        for text in self._by_bytes:
            lengths.setdefault(text[0], set()).add(len(text))
        self._lengths = {first: sorted(known, reverse=True) for first, known in lengths.items()}

    @classmethod
    def from_folder(cls, path: str | Path, n_vocab: int | None = None) -> "Tokenizer":
        """The tokenizer of a Hugging Face checkpoint folder. `n_vocab`: rows of the model's embedding.

        Raises:
          InputError: no tokenizer.json, a file that does not parse, or more tokens than `n_vocab`.
        """
        folder = Path(path)
        if not (folder / "tokenizer.json").is_file():
            raise InputError(
                f"{folder}: no tokenizer.json there; put the tokenizer of the checkpoint beside its "
                "weights (`AutoTokenizer.from_pretrained(...).save_pretrained(folder)` writes it)"
            )
        files = {name: (folder / name).read_bytes() for name in _SAVED_FILES if (folder / name).is_file()}
        return cls(files, n_vocab, _eos_ids(folder), where=str(folder / "tokenizer.json"))

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt: BOS as transformers adds it, without an end-of-text that a post-processor appends."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """`encode` of every text; much faster than one by one."""
        rows = []
        for encoding in self.backend.encode_batch_fast(texts):
            ids = self._bos + encoding.ids[: len(encoding.ids) - self._n_trailing]
            if ids and max(ids) >= self.size:
                raise InputError(
                    f"a text holds the special token {self.backend.id_to_token(max(ids))!r} (id "
                    f"{max(ids)}), but the model's vocabulary of {self.size} rows has no embedding for it"
                )
            rows.append(ids)
        return rows

    def longest_match(self, data: bytes) -> list[int]:
        """Ids of non-stop tokens that spell `data`, the longest first at every place, ties to the lower id.

        Stops early where no token fits (a newline, or a character outside the vocabulary): what came out spells a
        prefix of `data`.
        """
        ids, start = [], 0
        while start < len(data):
            for length in self._lengths.get(data[start], ()):
                token = self._by_bytes.get(data[start : start + length])
                if token is not None and start + length <= len(data):
                    ids.append(token)
                    start += length
                    break
            else:
                break
        return ids

    def fingerprint(self) -> str:
        """SHA-256 over tokenizer.json and what the other files add to it: BOS, end-of-text ids, stops, size."""
        rest = [self.size, self._bos, self._n_trailing, sorted(self.eos_ids), np.flatnonzero(self.is_stop).tolist()]
        return hashlib.sha256(self.files["tokenizer.json"] + b"\0" + json.dumps(rest).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Writes the tokenizer's files into a checkpoint folder, byte for byte as they were read."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (Path(folder) / name).write_bytes(content)

    def _frame(self, vocab: dict[str, int], settings: dict) -> tuple[list[int], int]:
        """(BOS ids to put in front, number of ids to drop behind): what encode() adds to the backend's own output."""
        bare = self.backend.encode("a", add_special_tokens=False).ids
        framed = self.backend.encode("a").ids
        if len(framed) == len(bare):
            bos = vocab.get(_content(settings.get("bos_token")))
            return ([bos] if settings.get("add_bos_token") and bos is not None else []), 0
        n_front = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
        return [], len(framed) - n_front - len(bare)


def _token_bytes(
    description: dict, backend: tokenizers.Tokenizer, vocab: dict[str, int], special: set[int], size: int, where: str
) -> list[bytes]:
    """The bytes of every id, by the kind of vocabulary that the decoder in tokenizer.json shows."""
    decoders = _components(description.get("decoder"), "decoders")
    kinds = {part["type"] for part in decoders}
    pre = {part["type"] for part in _components(description.get("pre_tokenizer"), "pretokenizers")}
    byte_level = "ByteLevel" in kinds | pre
    metaspace = "Metaspace" in kinds | pre or any(
        part["type"] == "Replace" and part["pattern"].get("String") == "▁" for part in decoders
    )
    if not byte_level and not metaspace:
        raise InputError(
            f"{where}: decoder {sorted(kinds) or 'none'} is not understood; supported are byte-level BPE "
            "(ByteLevel) and SentencePiece-like vocabularies (Metaspace, ByteFallback)"
        )
    alphabet = _byte_alphabet()
    fallback = bool(description["model"].get("byte_fallback")) or "ByteFallback" in kinds
    added = set(backend.get_added_tokens_decoder())
    table = [b""] * size
    for token, i in vocab.items():
        if i >= size or i in special:
            continue
        if i in added:
            table[i] = token.encode("utf-8")  # added tokens are literal text, outside the vocabulary's alphabet
        elif byte_level:
            table[i] = b"".join(alphabet.get(char) or char.encode("utf-8") for char in token)
        elif fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            table[i] = bytes([int(token[3:5], 16)])
        else:
            table[i] = token.replace("▁", " ").encode("utf-8")
    return table


def _byte_alphabet() -> dict[str, bytes]:
    """GPT-2's printable stand-ins for the 256 bytes: character -> byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(b): bytes([b]) for b in printable} | {chr(256 + n): bytes([b]) for n, b in enumerate(others)}


def _special_ids(backend: tokenizers.Tokenizer, vocab: dict[str, int], settings: dict) -> set[int]:
    """Ids that decoding skips: marked special in tokenizer.json or tokenizer_config.json, or named there by a role."""
    ids = {i for i, token in backend.get_added_tokens_decoder().items() if token.special}
    ids |= {int(i) for i, token in (settings.get("added_tokens_decoder") or {}).items() if token.get("special")}
    named = [_content(settings.get(name)) for name in _NAMED_TOKENS]
    named += [_content(token) for token in settings.get("additional_special_tokens") or []]
    return ids | {vocab[token] for token in named if token in vocab}


def _eos_ids(folder: Path) -> tuple[int, ...] | None:
    """End-of-text ids of generation_config.json, else config.json; None when neither names one."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            eos = _parse((folder / name).read_bytes(), str(folder / name)).get("eos_token_id")
            ids = eos if isinstance(eos, list) else [eos]
            if eos is not None and not all(isinstance(one, int) and one >= 0 for one in ids):
                raise InputError(f"{folder / name}: eos_token_id is {eos!r}; it must be an id or a list of ids")
            if eos is not None:
                return tuple(ids)
    return None


def _components(part: dict | None, key: str) -> list[dict]:
    """The members of a tokenizer.json component, nested Sequences flattened."""
    if part is None:
        return []
    return [leaf for sub in part[key] for leaf in _components(sub, key)] if part["type"] == "Sequence" else [part]


def _content(token: str | dict | None) -> str | None:
    """The text of a token, which configs write as a string or as an AddedToken dictionary."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _parse(content: bytes, where: str) -> dict:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({error}); copy the file again from the checkpoint") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: holds no JSON object; copy the file again from the checkpoint")
    return found
