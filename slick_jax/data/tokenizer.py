"""Text to token ids as transformers does it, and token ids to the bytes they stand for."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tokenizers

from slick_jax.data.tokenizer_files import NAMES, explained, parse, read_pipeline
from slick_jax.errors import InputError, short

MOST_IDS = 2**24  # an id is an entry of tables, whether or not a token has it
_BYTE_TOKEN = re.compile("<0x[0-9A-Fa-f+][0-9A-Fa-f]>")  # as the library reads one, its plus sign included


class Tokenizer:
    """A tokenizer together with what decides prompts and stops: BOS, end-of-text ids, the bytes of every token.

    Attributes:
      backend: the pipeline of the `tokenizers` library.
      size: number of ids; rows of the model's vocabulary when `n_vocab` was given.
      n_ids: ids from here on are padding rows of the vocabulary.
      newline: the stop that ends a line, the shortest token that holds a newline.
      token_bytes: list of `size` bytes objects, what each token adds to a running text; empty for special tokens, for
        end-of-text ids (but one that writes a newline) and for ids that the tokenizer does not have (padding rows of a
        vocabulary).
      is_stop: bool [size]; the token ends an answer: its text holds a newline, or it is an end-of-text id, or special,
        or an id that the tokenizer does not have.
      eos_ids: end-of-text ids, of generation_config.json, else config.json, else tokenizer_config.json.
      named: special tokens by role (`bos_token` and so on), as chat templates see them.
      chat_template: the folder's Jinja template for chats, None where it has none.
    """

    def __init__(
        self,
        files: dict[str, bytes],
        n_vocab: int | None = None,
        eos_ids: Iterable[int] | None = None,
        where: str = "tokenizer.json",
    ):
        """`files`: name -> content, see `tokenizer_files.NAMES`; `where` names the source in errors."""
        with explained(where):
            self._build(files, n_vocab, eos_ids, where)

    def _build(self, files: dict[str, bytes], n_vocab: int | None, eos_ids: Iterable[int] | None, where: str) -> None:
        self.files = {name: files[name] for name in NAMES if name in files and name != "config.json"}
        pipeline = read_pipeline(files, where)
        self.where, self.backend, self.named = where, pipeline.backend, pipeline.named
        self.chat_template = _chat_template(self.files, pipeline.settings, where)
        self.backend.no_truncation()
        self.backend.no_padding()

        vocab = self.backend.get_vocab(with_added_tokens=True)
        special = _special_ids(self.backend, vocab, pipeline.settings, [*self.named.values(), *pipeline.extra])
        self.size = n_vocab or max(vocab.values()) + 1
        if self.size > MOST_IDS:
            raise InputError(f"{where}: names token {self.size - 1}; no vocabulary has more than {MOST_IDS:,} ids")
        self.n_ids = min(self.size, max(vocab.values()) + 1)
        outside = [token for token, i in vocab.items() if i >= self.size and i not in special]
        if outside:
            raise InputError(
                f"{where}: token {outside[0]!r} has id {vocab[outside[0]]}, but the model's vocabulary "
                f"has only {self.size} rows; take the tokenizer.json that belongs to this checkpoint"
            )
        self.token_bytes = _token_bytes(pipeline.description, self.backend, vocab, special, self.size, where)
        named_eos = vocab.get(self.named.get("eos_token"))
        self.eos_ids = tuple(eos_ids) if eos_ids is not None else () if named_eos is None else (named_eos,)
        written = [i for i in self.eos_ids if i < self.size and self.token_bytes[i]]
        self._silent = sorted(i for i in written if b"\n" not in self.token_bytes[i])
        for i in self._silent:  # a plain token in the files, such as an added <|im_end|>, and the end of every text
            self.token_bytes[i] = b""

        held = np.zeros(self.size, bool)
        held[[i for i in vocab.values() if i < self.size]] = True
        self.is_stop = ~held | np.array([b"\n" in text for text in self.token_bytes])
        self.is_stop[[i for i in {*special, *self.eos_ids} if i < self.size]] = True
        ends = [i for i, text in enumerate(self.token_bytes) if b"\n" in text]
        self.newline = min(ends, key=lambda i: (len(self.token_bytes[i]), i)) if ends else next(iter(self.eos_ids), 0)

        self._n_trailing = _n_trailing(self.backend)
        self._built = [pipeline.class_name, *sorted(map(repr, self.backend.get_added_tokens_decoder().values()))]
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
          InputError: no tokenizer, a file that does not parse, or more tokens than `n_vocab`.
        """
        folder = Path(path)
        files = {name: (folder / name).read_bytes() for name in NAMES if (folder / name).is_file()}
        where = folder / "tokenizer.json" if "tokenizer.json" in files else folder
        return cls(files, n_vocab, _eos_ids(folder), where=str(where))

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt: BOS as transformers adds it, without an end-of-text that a post-processor appends."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str], framed: bool = True) -> list[list[int]]:
        """`encode` of every text; much faster than one by one. `framed`: False adds no BOS, as for a text that writes
        its own."""
        rows = []
        with explained(self.where):
            encodings = self.backend.encode_batch_fast(texts, add_special_tokens=framed)
        for encoding in encodings:
            ids = encoding.ids[: len(encoding.ids) - (self._n_trailing if framed else 0)]
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
        """SHA-256 over the vocabulary's files and what the others add to them: frame, end-of-text ids, stops, size."""
        stops = np.flatnonzero(self.is_stop).tolist()
        rest = [self.size, self.backend.encode("a").ids, self._n_trailing, sorted(self.eos_ids), stops, self._built]
        rest += [self._silent] if self._silent else []
        names = ("tokenizer.json",) if "tokenizer.json" in self.files else ("vocab.json", "merges.txt")
        content = b"\0".join(self.files[name] for name in names)
        return hashlib.sha256(content + b"\0" + json.dumps(rest).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Writes the tokenizer's files into a checkpoint folder, byte for byte as they were read."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (Path(folder) / name).write_bytes(content)


def _n_trailing(backend: tokenizers.Tokenizer) -> int:
    """Number of ids that the post-processor appends to a text."""
    added = backend.encode("a").special_tokens_mask
    return next((number for number, special in enumerate(reversed(added)) if not special), 0)


def _chat_template(files: dict[str, bytes], settings: dict, where: str) -> str | None:
    """chat_template.jinja, else `chat_template` of tokenizer_config.json: a text, or a list with one named default."""
    if "chat_template.jinja" in files:
        try:
            return files["chat_template.jinja"].decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: chat_template.jinja is no UTF-8 text ({error}); copy the file again") from None
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        if "default" not in named:
            raise InputError(
                f"{where}: tokenizer_config.json: chat_template has {', '.join(map(str, named)) or 'no names'}, but no "
                "template named default; name the one to use so, or put it into chat_template.jinja"
            )
        found = named["default"]
    if found is not None and not isinstance(found, str):
        raise InputError(f"{where}: tokenizer_config.json: chat_template is no text; copy the file again")
    return found


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
        elif fallback and _BYTE_TOKEN.fullmatch(token):
            table[i] = bytes([int(token[3:5], 16)])
        else:
            table[i] = token.replace("▁", " ").encode("utf-8")
    return table


def _byte_alphabet() -> dict[str, bytes]:
    """GPT-2's printable stand-ins for the 256 bytes: character -> byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(b): bytes([b]) for b in printable} | {chr(256 + n): bytes([b]) for n, b in enumerate(others)}


def _special_ids(
    backend: tokenizers.Tokenizer, vocab: dict[str, int], settings: dict, named: list[str]
) -> set[int]:
    """Ids that decoding skips: marked special in tokenizer.json or tokenizer_config.json, or `named` special."""
    ids = {i for i, token in backend.get_added_tokens_decoder().items() if token.special}
    ids |= {int(i) for i, token in (settings.get("added_tokens_decoder") or {}).items() if token.get("special")}
    return ids | {vocab[token] for token in named if token in vocab}


def _eos_ids(folder: Path) -> tuple[int, ...] | None:
    """End-of-text ids of generation_config.json, else config.json; None when neither names one."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            eos = parse((folder / name).read_bytes(), str(folder / name)).get("eos_token_id")
            ids = eos if isinstance(eos, list) else [eos]
            if eos is not None and not all(type(one) is int and one >= 0 for one in ids):
                raise InputError(f"{folder / name}: eos_token_id is {short(eos)}; it must be an id or a list of ids")
            if eos is not None:
                return tuple(ids)
    return None


def _components(part: dict | None, key: str) -> list[dict]:
    """The members of a tokenizer.json component, nested Sequences flattened."""
    if part is None:
        return []
    return [leaf for sub in part[key] for leaf in _components(sub, key)] if part["type"] == "Sequence" else [part]
