"""The files of a Hugging Face tokenizer as one pipeline of the `tokenizers` library, as AutoTokenizer puts it together.

Followed is transformers 5: which tokens are added and named special, and what a post-processor frames a text with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, processors

from slick_jax.data.tokenizer_classes import BYTE_LEVEL, CLASSES, class_name
from slick_jax.errors import InputError
from slick_jax.files import json_text

# What is read of a folder; of config.json only the model type and the names of classes.
NAMES = (
    "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "config.json",
)  # fmt: skip
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A tokenizer put together from files.

    backend: the pipeline; description: what tokenizer.json says, or would say, about it; class_name: the transformers
    class that built it, '' for tokenizer.json itself; named: special tokens by role (`bos_token` and so on), as a chat
    template sees them; extra: further special tokens; settings: tokenizer_config.json with what other files add to it.
    """

    backend: Tokenizer
    description: dict
    class_name: str
    named: dict[str, str]
    extra: tuple[str, ...]
    settings: dict


def read_pipeline(files: Mapping[str, bytes], where: str) -> Pipeline:
    """The tokenizer of `files` (name -> content); `where` names their folder, or the tokenizer.json, in errors.

    Raises:
      InputError: neither tokenizer.json nor vocab.json and merges.txt, a file that does not parse, or a class whose
        pipeline is not known where there is no tokenizer.json.
    """
    with explained(where):
        return _read_pipeline(files, where)


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Within this block, where files of a tokenizer are taken apart or put to work, an InputError says of what fails
    that they are not as transformers writes them."""
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        # The Rust side panics, which is no Exception; and it raises bare Exceptions.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(
            f"{where}: vocabulary or special tokens are not written as transformers writes them"
            f" ({type(error).__name__}: {str(error)[:300]}); export them again with"
            " `AutoTokenizer.from_pretrained(...).save_pretrained(folder)`"
        ) from error


def _read_pipeline(files: Mapping[str, bytes], where: str) -> Pipeline:
    settings = parse(files.get("tokenizer_config.json", b"{}"), f"{where}: tokenizer_config.json")
    config = parse(files.get("config.json", b"{}"), f"{where}: config.json")
    content = files.get("tokenizer.json")
    description = {} if content is None else parse(content, where)
    chosen = class_name(settings, config, None if content is None else content.decode("utf-8"))
    if content is None:
        vocab, merges = _vocab_and_merges(files, chosen, where)
        post_processor = None
    else:
        backend = _load(content, where)
        vocab, merges = _of_model(description["model"])
        post_processor = backend.post_processor
        if merges is None:
            chosen = ""
    roles, added = _special_tokens(files, settings, description, where)
    if chosen:
        kind = CLASSES[chosen]
        backend = kind.build(vocab, merges, settings)
        if post_processor is not None and not kind.drops_post_processor:
            backend.post_processor = post_processor
        roles = {role: token for role, token in kind.named.items() if role not in settings} | roles
    extra = _extra(settings)
    _add_tokens(backend, added, roles, extra)
    if chosen == "Qwen2Tokenizer":
        backend.add_tokens([AddedToken(str(token), special=True) for token in [*roles.values(), *extra]])
    if content is None:
        backend.post_processor = _frame(backend, settings, roles)
    if chosen:
        description = json.loads(backend.to_str())
    named = {role: str(token) for role, token in roles.items()}
    return Pipeline(backend, description, chosen, named, tuple(map(str, extra)), settings)


def parse(content: bytes, where: str) -> dict:
    """A JSON object. Raises InputError, which names `where`, for anything else."""
    try:
        found = json_text.parse(content)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({error}); copy the file again from the checkpoint") from error
    if not isinstance(found, dict):
        raise InputError(f"{where}: holds no JSON object; copy the file again from the checkpoint")
    return found


def _load(content: bytes, where: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:  # the Rust side raises bare Exception
        raise InputError(
            f"{where}: not a tokenizer of the `tokenizers` library ({error}); export it again with "
            "`AutoTokenizer.from_pretrained(...).save_pretrained(folder)`"
        ) from error


def _of_model(model: dict) -> tuple[dict[str, int] | None, list[tuple[str, str]] | None]:
    """Vocabulary and merges of a BPE model of tokenizer.json; None for other models."""
    if "merges" not in model or not isinstance(model.get("vocab"), dict):
        return None, None
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    return model["vocab"], merges


def _vocab_and_merges(
    files: Mapping[str, bytes], chosen: str, where: str
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    if "vocab.json" not in files or "merges.txt" not in files:
        raise InputError(
            f"{where}: no tokenizer.json there, nor vocab.json with merges.txt; put the tokenizer of the checkpoint "
            "beside its weights (`AutoTokenizer.from_pretrained(...).save_pretrained(folder)` writes it)"
        )
    if chosen not in BYTE_LEVEL:
        raise InputError(
            f"{where}: no tokenizer.json there, and how tokenizer_class {chosen or 'none'!r} cuts text is not known; "
            f"vocab.json and merges.txt are read for {', '.join(BYTE_LEVEL)}. Write a tokenizer.json with "
            "`AutoTokenizer.from_pretrained(...).save_pretrained(folder)`"
        )
    vocab, merges = parse(files["vocab.json"], f"{where}: vocab.json"), []
    # Lines end with \n alone: tokens hold other line separators, and '#' opens a merge as well as the version line.
    for number, line in enumerate(files["merges.txt"].decode("utf-8").split("\n"), start=1):
        line = line.removesuffix("\r")
        if line and not line.startswith("#version"):
            pair = tuple(line.split(" "))
            if len(pair) != 2 or any(part not in vocab for part in (*pair, "".join(pair))):
                raise InputError(
                    f"{where}: merges.txt:{number}: {line!r} is no merge of two tokens of vocab.json into a third; "
                    "copy both files again from the checkpoint"
                )
            merges.append(pair)
    return vocab, merges


def _special_tokens(
    files: Mapping[str, bytes], settings: dict, description: dict, where: str
) -> tuple[dict[str, str | AddedToken], dict[int, AddedToken]]:
    """(special tokens by role, added tokens by id). tokenizer_config.json decides where it lists added tokens;
    without that the older files are asked, and tokenizer.json. Those also go into `settings`."""
    added: dict[int, AddedToken] = {}
    if settings.get("added_tokens_decoder") is not None:
        added = {int(i): _token(token) for i, token in settings["added_tokens_decoder"].items()}
    else:
        older = parse(files.get("special_tokens_map.json", b"{}"), f"{where}: special_tokens_map.json")
        for role, token in older.items():
            settings[role] = {**token, "special": True} if isinstance(token, dict) and "content" in token else token
        special = {_text(settings.get(role)) for role in ROLES} | {str(token) for token in _extra(settings)}
        listed = parse(files.get("added_tokens.json", b"{}"), f"{where}: added_tokens.json")
        for text, i in listed.items():
            added[i] = AddedToken(text, normalized=text not in special, special=text in special)
        for token in description.get("added_tokens") or ():
            added[token["id"]] = _token(token)
    by_text = {token.content: token for token in added.values()}
    roles = {role: by_text.get(_text(token), token) if role in ROLES else token for role, token in _roles(settings)}
    return {role: _token(token) if isinstance(token, dict) else token for role, token in roles.items()}, added


def _roles(settings: Mapping[str, Any]) -> Iterator[tuple[str, str | dict]]:
    """Roles and tokens that settings name: the usual roles, then others that end in `_token`, as transformers does."""
    for role in ROLES:
        if _text(settings.get(role)):
            yield role, settings[role]
    for role, token in settings.items():
        if role.endswith("_token") and role not in ROLES and _text(token) is not None:
            yield role, token
    if isinstance(settings.get("extra_special_tokens"), dict):
        yield from settings["extra_special_tokens"].items()


def _extra(settings: Mapping[str, Any]) -> list[str | AddedToken]:
    found = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    return [] if isinstance(found, dict) else [_token(one) if isinstance(one, dict) else one for one in found]


def _add_tokens(backend: Tokenizer, added: dict[int, AddedToken], roles: dict, extra: list) -> None:
    """Tokens that the backend does not know yet: by id, then those with a role, then the others."""
    known = {repr(token) for token in backend.get_added_tokens_decoder().values()}
    new: list[str | AddedToken] = [token for _, token in sorted(added.items()) if repr(token) not in known]
    texts = {token.content for token in backend.get_added_tokens_decoder().values()} | {str(one) for one in new}
    new += [token for token in [*roles.values(), *extra] if str(token) not in texts]
    with_role = {str(token) for token in roles.values()}
    tokens = [AddedToken(token, special=True) if isinstance(token, str) else token for token in new]
    for token in tokens:
        token.special = token.special or token.content in with_role
    backend.add_tokens(tokens)


def _frame(backend: Tokenizer, settings: Mapping[str, Any], roles: dict) -> processors.TemplateProcessing:
    """BOS in front and EOS behind, where tokenizer_config.json asks for them."""
    bos, eos = (
        str(roles[role]) if settings.get(f"add_{role}") and role in roles else None
        for role in ("bos_token", "eos_token")
    )
    single = " ".join([*([f"{bos}:0"] if bos else []), "$A:0", *([f"{eos}:0"] if eos else [])])
    used = [(token, backend.token_to_id(token)) for token in dict.fromkeys((bos, eos)) if token]
    return processors.TemplateProcessing(single=single, special_tokens=used)


def _token(token: str | dict) -> AddedToken:
    if isinstance(token, str):
        return AddedToken(token)
    return AddedToken(**{name: value for name, value in token.items() if name not in ("__type", "id")})


def _text(token: str | dict | None) -> str | None:
    """The text of a token, which configs write as a string or as an AddedToken dictionary."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
