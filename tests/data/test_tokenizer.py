"""Tokenizer: bytes, stops and BOS against the tokenizers library itself and hand-made vocabularies."""

import gzip
import json
import re

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from slick_jax.config import CorpusConfig, WorldConfig
from slick_jax.data.corpus_tokens import END_OF_TEXT, UNKNOWN, train_tokenizer
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.data.world import make_world
from slick_jax.errors import InputError
from slick_jax.knowledge.answer_text import text_of
from slick_jax.knowledge.match import Golds, matcher
from slick_jax.knowledge.walk import HIT, STOPPED, STRICT, Judge, Vocabulary
from tests.data.small_tokenizers import MERGES, byte_level_files, metaspace_backend


@pytest.fixture(scope="module")
def world():
    small = WorldConfig(facts_per_relation=60, relations=4, ood_relations=1)
    return make_world(small, CorpusConfig(median_exposures=4))


@pytest.fixture(scope="module")
def world_tokenizer(world):
    return train_tokenizer(world, 700)


@pytest.fixture(scope="module")
def smollm2(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2")
    packed = (real_data / "tokenizers" / "smollm2" / "tokenizer.json.gz").read_bytes()
    (folder / "tokenizer.json").write_bytes(gzip.decompress(packed))
    return folder


def write_folder(folder, backend, **files):
    (folder / "tokenizer.json").write_text(backend.to_str())
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def settings_of(class_name, **settings):
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>"}
    return json.dumps({"tokenizer_class": class_name, **named, **settings}).encode()


def spelled(tokenizer, ids):
    return b"".join(tokenizer.token_bytes[i] for i in ids)


def squeezed(text):
    """Blanks beside punctuation and newlines removed: the world's tokenizer does not keep those."""
    return re.sub(r" *([^\w ]) *", r"\1", text).strip()


def test_world_text_survives(world, world_tokenizer):
    for document in world.documents[:300]:
        ids = world_tokenizer.encode(document)
        assert ids[0] == world_tokenizer.eos_ids[0] and ids.count(ids[0]) == 1
        assert squeezed(spelled(world_tokenizer, ids).decode()) == squeezed(document)


def test_world_words_have_the_same_tokens_everywhere(world, world_tokenizer):
    word = world.splits["test"][0].subject
    alone = world_tokenizer.encode(word)[1:]
    for text in (f"who is {word}", f"x\n{word}"):
        assert world_tokenizer.encode(text)[-len(alone) :] == alone


def test_world_stops(world_tokenizer):
    stops = {world_tokenizer.backend.id_to_token(i) for i in np.flatnonzero(world_tokenizer.is_stop)}
    assert {END_OF_TEXT, UNKNOWN} < stops
    assert all("\n" in token for token in stops - {END_OF_TEXT, UNKNOWN}) and len(stops) >= 3
    assert world_tokenizer.encode("a é b").count(world_tokenizer.backend.token_to_id(UNKNOWN)) == 1


def test_real_questions_are_spelled_exactly(real_data, smollm2):
    tokenizer = Tokenizer.from_folder(smollm2)
    with gzip.open(real_data / "entityquestions" / "entityquestions.test.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][::40][:500]
    texts = [f"Q: {row['question']}\nA: {row['answers'][0]}\n" for row in rows]
    assert any(not text.isascii() for text in texts) and len(texts) == 500
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert spelled(tokenizer, ids) == text.encode()
        assert ids == tokenizer.backend.encode(text).ids
        answer = text.split("A:")[1][:-1].encode()
        assert spelled(tokenizer, tokenizer.longest_match(answer)) == answer


def test_smollm2_stops_are_newlines_and_specials(smollm2):
    tokenizer = Tokenizer.from_folder(smollm2)
    decoded = tokenizer.backend.decode_batch([[i] for i in range(tokenizer.size)], skip_special_tokens=True)
    expected = np.array(["\n" in text or i < 17 for i, text in enumerate(decoded)])
    np.testing.assert_array_equal(tokenizer.is_stop, expected)
    assert sum(text != b"" for text in tokenizer.token_bytes) == tokenizer.size - 17


def test_bytes_of_a_fallback_vocabulary(tmp_path):
    tokenizer = Tokenizer.from_folder(write_folder(tmp_path, metaspace_backend()))
    ids = tokenizer.encode("ab é\n")
    assert ids[0] == 1 and ids[-1] != 2  # BOS stays, the end-of-text that the post-processor appends does not
    assert spelled(tokenizer, ids) == " ab é\n".encode()
    newline = 3 + 0x0A
    assert tokenizer.token_bytes[newline] == b"\n" and ids[-1] == newline
    assert np.flatnonzero(tokenizer.is_stop).tolist() == [0, 1, 2, newline]


def test_longest_match_is_greedy_with_ties_to_the_lower_id(tmp_path):
    tokenizer = Tokenizer.from_folder(write_folder(tmp_path, metaspace_backend()))
    usable = {i: text for i, text in enumerate(tokenizer.token_bytes) if text and not tokenizer.is_stop[i]}
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytes(rng.choice(list(b"ab c\xc3\xa9"), 12).astype(np.uint8))
        expected, rest = [], data
        while rest:
            best = min((i for i in usable if rest.startswith(usable[i])), key=lambda i: (-len(usable[i]), i))
            expected.append(best)
            rest = rest[len(usable[best]) :]
        assert tokenizer.longest_match(data) == expected
    # 'a' is spelled by <0x61> (lower id) and by 'a'; a newline has only stop tokens.
    assert tokenizer.longest_match(b"ca\nb") == [3 + ord("c"), 3 + ord("a")]


def test_rows_beyond_the_vocabulary_are_stops_without_text(tmp_path):
    tokenizer = Tokenizer.from_folder(write_folder(tmp_path, metaspace_backend()), n_vocab=300)
    assert tokenizer.size == len(tokenizer.token_bytes) == len(tokenizer.is_stop) == 300
    assert tokenizer.is_stop[265:].all() and set(tokenizer.token_bytes[265:]) == {b""}


def test_end_of_text_ids_come_from_generation_config_first(tmp_path):
    folder = write_folder(
        tmp_path,
        metaspace_backend(),
        tokenizer_config={"eos_token": {"content": "</s>"}},
        config={"eos_token_id": 260},
        generation_config={"eos_token_id": [2, 261]},
    )
    first = Tokenizer.from_folder(folder)
    assert first.eos_ids == (2, 261) and first.is_stop[261] and not first.is_stop[260]
    (folder / "generation_config.json").unlink()
    second = Tokenizer.from_folder(folder)
    assert second.eos_ids == (260,) and second.fingerprint() != first.fingerprint()
    (folder / "config.json").unlink()
    assert Tokenizer.from_folder(folder).eos_ids == (2,)


def test_an_end_of_text_that_is_a_plain_token_is_no_part_of_an_answer(tmp_path):
    backend = metaspace_backend()
    backend.add_tokens([tokenizers.AddedToken("<end>", special=False)])
    end, newline, word = backend.token_to_id("<end>"), 3 + 0x0A, backend.token_to_id("ab")
    folder = write_folder(tmp_path, backend)
    plain = Tokenizer.from_folder(folder)
    assert plain.token_bytes[end] == b"<end>" and not plain.is_stop[end]
    write_folder(tmp_path, backend, generation_config={"eos_token_id": [end, newline]})
    tokenizer = Tokenizer.from_folder(folder)
    assert text_of(tokenizer, [word, end]) == text_of(tokenizer, [word, newline]) == ("ab", False)
    assert tokenizer.newline == newline and tokenizer.token_bytes[newline] == b"\n"
    golds = Golds(("ab",), matcher("squad"))
    judge = Judge(Vocabulary(tokenizer.token_bytes, tokenizer.is_stop.tolist()), golds, None)
    assert judge.decide(b"ab", end) == judge.decide(b"ab", newline) == STOPPED | STRICT | HIT


@pytest.mark.parametrize("add", [None, True, False])
def test_where_there_is_a_tokenizer_json_its_post_processor_decides_about_bos(tmp_path, add):
    backend = metaspace_backend(frames=False)
    settings = {"bos_token": "<s>", **({} if add is None else {"add_bos_token": add})}
    tokenizer = Tokenizer.from_folder(write_folder(tmp_path, backend, tokenizer_config=settings))
    assert tokenizer.encode("ab") == backend.encode("ab", add_special_tokens=False).ids
    framed = Tokenizer.from_folder(write_folder(tmp_path, metaspace_backend(), tokenizer_config=settings))
    assert framed.encode("ab") == [1, *tokenizer.encode("ab")]


def test_a_vocabulary_without_the_letter_a(tmp_path):
    backend = tokenizers.Tokenizer(models.BPE({"<s>": 0, "b": 1}, []))
    backend.add_special_tokens(["<s>"])
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    assert Tokenizer({"tokenizer.json": backend.to_str().encode()}).encode("bb") == [0, 1, 1]


def test_a_chat_template_that_is_no_text(world_tokenizer):
    files = world_tokenizer.files | {"chat_template.jinja": b"\xff"}
    with pytest.raises(InputError, match="chat_template.jinja is no UTF-8 text"):
        Tokenizer(files)


def test_vocab_and_merges_make_a_byte_level_tokenizer():
    files = byte_level_files()
    vocab = json.loads(files["vocab.json"])
    reference = tokenizers.ByteLevelBPETokenizer(vocab, MERGES)  # GPT-2's, as the library itself puts it together
    tokenizer = Tokenizer(files | {"tokenizer_config.json": settings_of("GPT2Tokenizer")})
    for text in ("Who wrote it in 1965? don't\n", " two  and\n\n", "café 東京", "##"):
        assert tokenizer.encode(text) == reference.encode(text).ids
        assert spelled(tokenizer, tokenizer.encode(text)) == text.encode()
    assert tokenizer.encode("##") == [vocab["##"]]  # a merge may begin with #, only the version line is none
    assert np.flatnonzero(tokenizer.is_stop).tolist() == [0, 1, vocab["Ċ"], vocab["ĊĊ"]]


@pytest.mark.parametrize("add", [{}, {"add_bos_token": True}, {"add_bos_token": True, "add_eos_token": True}])
def test_without_a_tokenizer_json_the_settings_decide_about_bos(add):
    tokenizer = Tokenizer(byte_level_files() | {"tokenizer_config.json": settings_of("GPT2Tokenizer", **add)})
    bare = tokenizer.encode_batch(["Who"], framed=False)[0]
    assert tokenizer.encode("Who") == ([0, *bare] if add else bare)
    assert tokenizer.backend.encode("Who").ids == [*tokenizer.encode("Who"), *([1] if len(add) == 2 else [])]


def test_the_class_decides_how_text_is_cut():
    made = {
        name: Tokenizer(byte_level_files() | {"tokenizer_config.json": settings_of(name)})
        for name in ("GPT2Tokenizer", "GPTNeoXTokenizerFast", "Qwen2Tokenizer")
    }
    assert len({tokenizer.fingerprint() for tokenizer in made.values()}) == 3
    digits = {name: len(tokenizer.encode("1965")) for name, tokenizer in made.items()}
    assert digits == {"GPT2Tokenizer": 1, "GPTNeoXTokenizerFast": 1, "Qwen2Tokenizer": 4}  # Qwen keeps digits apart
    decomposed = "cafe\u0301"
    assert made["GPTNeoXTokenizerFast"].encode(decomposed) == made["GPT2Tokenizer"].encode("café")  # NFC


@pytest.mark.parametrize("name", ["LlamaTokenizer", "RobertaTokenizer", "TokenizersBackend", ""])
def test_vocab_and_merges_of_a_class_that_is_not_known_are_refused(name):
    with pytest.raises(InputError, match=f"tokenizer_class {name or 'none'!r} cuts text is not known; .*GPT2Tokenizer"):
        Tokenizer(byte_level_files() | {"tokenizer_config.json": settings_of(name)}, where="the folder")


@pytest.mark.parametrize("line", ["a b c", "ab", "Ġ unheard"])
def test_a_merge_that_is_none_is_named_by_its_line(line):
    files = byte_level_files()
    files["merges.txt"] += line.encode() + b"\n"
    with pytest.raises(InputError, match=f"merges.txt:{len(MERGES) + 2}: '{line}' is no merge"):
        Tokenizer(files | {"tokenizer_config.json": settings_of("GPT2Tokenizer")})


def test_added_tokens_of_the_settings_keep_id_text_and_flags():
    added = {"300": {"content": "<mark>", "lstrip": True, "rstrip": False, "normalized": False, "special": True}}
    files = {"tokenizer.json": metaspace_backend(frames=False).to_str().encode()}
    plain = Tokenizer(files)
    marked = Tokenizer(files | {"tokenizer_config.json": settings_of("", added_tokens_decoder=added)})
    mark = marked.backend.token_to_id("<mark>")
    assert marked.encode("ab   <mark>c")[:3] == [*plain.encode("ab"), mark]  # lstrip takes the blanks
    assert marked.is_stop[mark] and marked.token_bytes[mark] == b"" and plain.fingerprint() != marked.fingerprint()


def test_saved_files_give_the_same_tokenizer(tmp_path, world_tokenizer):
    world_tokenizer.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    assert again.fingerprint() == world_tokenizer.fingerprint()
    assert again.eos_ids == world_tokenizer.eos_ids and again.token_bytes == world_tokenizer.token_bytes


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no tokenizer.json there, nor vocab.json with merges.txt"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="tokenizer.json: not valid JSON"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="tokenizer.json: not a tokenizer"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config.json": settings_of("", added_tokens_decoder={"1": {"content": 3}})},
        {"tokenizer_config.json": settings_of("", added_tokens_decoder={"one": {"content": "<s>"}})},
        {"tokenizer_config.json": settings_of("", additional_special_tokens=[3])},
        {"special_tokens_map.json": b'{"bos_token": {"content": "<new>", "lstrip": "yes"}}'},
    ],
)
def test_special_tokens_that_are_none_are_refused(files):
    with pytest.raises(InputError, match="the folder: vocabulary or special tokens are not written as"):
        Tokenizer({"tokenizer.json": metaspace_backend().to_str().encode()} | files, where="the folder")


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="has only 100 rows"):
        Tokenizer.from_folder(write_folder(tmp_path, metaspace_backend()), n_vocab=100)


def test_special_tokens_may_lie_beyond_the_embedding_but_not_be_used(tmp_path):
    backend = metaspace_backend()
    backend.add_special_tokens(["<pad>"])
    tokenizer = Tokenizer.from_folder(write_folder(tmp_path, backend), n_vocab=265)
    assert tokenizer.encode("ab")
    with pytest.raises(InputError, match="'<pad>'"):
        tokenizer.encode("ab<pad>")


def test_a_decoder_without_known_bytes_is_refused(tmp_path):
    backend = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    with pytest.raises(InputError, match="WordPiece"):
        Tokenizer.from_folder(write_folder(tmp_path, backend))
