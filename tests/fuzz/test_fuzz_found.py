"""What fuzzing has found, each as its smallest input: tracebacks, readers without end, and wrong readings."""

import gzip
import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save

from slick_jax.data import examples
from slick_jax.data.chat_template import ChatTemplate
from slick_jax.data.entity_questions.sources import read_source
from slick_jax.data.tfds_rows import example_of_record
from slick_jax.data.tokenizer import Tokenizer
from slick_jax.files import run_folder
from slick_jax.longform.sentences import is_complete, sentences
from slick_jax.longform.sources import read_entities
from slick_jax.models import weights
from slick_jax.models.hf_folder import INDEX, open_tensors
from slick_jax.models.safetensors_file import TensorFile
from slick_jax.settings.config_file import load_config
from slick_jax.training.mixture_file import read_mixture
from tests.data.small_tokenizers import byte_level_files, metaspace_backend
from tests.families import config_of
from tests.fuzz.fuzzing import attempt


def refusal(read, *arguments, **named):
    """The message with which an input is refused."""
    taken, message = attempt(read, *arguments, **named)
    assert not taken, message
    return message


@pytest.mark.parametrize(("setting", "said"), [
    ("data.limit=" + "9" * 30, "is not a whole number"),
    ("mix.size=" + "1" * 5000, "is unknown"),  # Python turns no text of that length into a number
    ("annotate.exact_pairs=((1" + "0" * 400 + ", 40),)", "is not pairs"),
    ("annotate.exact_pairs=((0.5, 0x" + "f" * 5000 + "),)", "is not pairs"),
    ("annotate.exact_pairs=" + "(" * 500, "is not pairs"),
    ("longform.probe.strengths=(1e999,)", "is not pairs"),
    ("run_dir=\udcff", "is not a text"),
    ("run_dir=" + "a" * 300, "too long for a path"),
    ("data.path=" + "x/" * 3000, "too long for a path"),
    ("train.eval_dev_epochs=1-99999999999999", None),  # a set of as many numbers
    ("train.epochs=99999999999999", "out of range"),
])  # fmt: skip
def test_command_lines(root, setting, said):
    taken, found = attempt(load_config, [f"--config={root}/configs/base.py", f"--config.{setting}"])
    assert taken if said is None else said in found


def test_lines_of_utf_16_are_no_utf_8(tmp_path):
    """Cut at its line ends, such a file shifts by a byte, and Python's reader took the rest for other characters."""
    row = {"question": "q?", "answer": "中x"}
    text = "\n".join(json.dumps(row | {"id": name}, ensure_ascii=False) for name in "ab") + "\n"
    (tmp_path / "rows.jsonl").write_bytes(text.encode("utf-16-le"))
    assert refusal(examples.read_rows, str(tmp_path / "rows.jsonl"), "train").count("is not JSON") >= 2


@pytest.mark.parametrize(("line", "said"), [
    ('{"question": "q?", "answer": "a", "answer": "b"}', "names 'answer' twice"),
    ('{"question": "q?", "answer": ' + "[" * 900 + "]" * 900 + "}", "nested too deeply"),
    ('{"question": "q?", "answer": ' + "[" * 90000 + "}", "nested too deeply"),
    ('{"question": "q?", "answer": {"a": "' + "x" * 90000 + '"}}', "answer must be a text, found"),
])  # fmt: skip
def test_rows(tmp_path, line, said):
    (tmp_path / "rows.jsonl").write_text(line)
    message = refusal(examples.read_rows, str(tmp_path / "rows.jsonl"), "train")
    assert said in message and len(message) < 1000


def test_a_packed_line_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "MAX_LINE_BYTES", 1000)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(b" " * 1001))
    told = refusal(examples.read_rows, str(tmp_path / "rows.jsonl.gz"), "train")
    assert "a line is longer than" in told and "cannot be read" not in told  # one message, not one within another


def test_parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    text = pa.array([b"\xff"]).view(pa.string())
    parquet.write_table(pa.table({"question": text, "answer": ["a"]}), path)
    assert "cannot be read as Parquet" in refusal(examples.read_rows, str(path), "train")
    parquet.write_table(pa.Table.from_arrays([pa.array(["q"])] * 2, names=["question", "question"]), path)
    assert "a column twice" in refusal(examples.read_rows, str(path), "train")
    path.write_text("[1]")
    assert "expected a JSON object" in refusal(run_folder.read_object, path)


def test_no_flipped_bit_of_a_page_is_read_as_another_value(tmp_path):
    table = pa.table({"text": [f"row {n * n}" for n in range(40)], "hits": [[n % 3 == 0] * 3 for n in range(40)]})
    path = run_folder.write_parquet(tmp_path / "part.parquet", table)
    content, before, refused = path.read_bytes(), run_folder.read_parquet(path), 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        taken, found = attempt(run_folder.read_parquet, path)
        refused += not taken
        # In the footer a flip can change names and types, which readers look at, but no value of a column.
        assert not taken or not found.schema.equals(before.schema) or found.equals(before), place
    assert refused > len(content) / 2


def test_mixtures_and_entities(tmp_path):
    row, path = {"prompt": "p", "completion": "c"}, tmp_path / "rows.jsonl"
    for changes, said in (
        ({"times": 10**12}, "an epoch of more than"), ({"ending": 0}, "ending must be a text"),
        ({"id": "\ud800"}, "half a surrogate pair"), ({"role": []}, "role [] is unknown"),
    ):  # fmt: skip
        path.write_text(json.dumps(row | changes))
        assert said in refusal(read_mixture, path)
    entity = {"entity": "a", "prompt": "p", "reference": "A is."}
    for changes, said in (({"exposure": 2**31}, "exposure must be"), ({"id": "\ud800"}, "half a surrogate pair")):
        path.write_text(json.dumps(entity | changes))
        assert said in refusal(read_entities, str(path), "own")


@pytest.mark.parametrize("text", ["." * 50_000, "[1]" * 20_000 + "x", "Dr. A " * 10_000, ".[1]" * 9_000])
def test_long_runs_of_marks_take_no_time(text):
    assert attempt(lambda: [is_complete(one) for one in sentences(text)])[0]


SOUND = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(("header", "size"), [
    ({"a": SOUND, "b": SOUND}, 8), ({"a": SOUND}, 9), ({"a": SOUND | {"data_offsets": [1, 9]}}, 9),
    ({"a": SOUND | {"shape": [-1, -2]}}, 8), ({"a": SOUND | {"shape": [2.0]}}, 8),
    ({"a": SOUND | {"shape": [True, 2]}}, 8), ({"a": SOUND | {"dtype": "F64"}}, 8),
    ({"a": SOUND | {"dtype": ["F32"]}}, 8), ([], 0),
])  # fmt: skip
def test_tensor_files(tmp_path, header, size):
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    for content in (text, text.decode().encode("utf-16"), b"[" * 5000, text.replace(b'"b"', b'"a"')):
        path.write_bytes(len(content).to_bytes(8, "little") + content + bytes(size))
        assert "cannot be read as safetensors" in refusal(TensorFile, path)


def test_a_tensor_in_two_files(tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(save({"x": np.zeros(2, np.float32)}))
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    assert "'x' is in a.safetensors, too" in refusal(open_tensors, tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"x": "z" * 300 + ".safetensors"}}))
    assert "it may only name safetensors files beside it" in refusal(open_tensors, tmp_path)


@pytest.mark.parametrize("changes", [
    {"rope_theta": float("inf")}, {"rms_norm_eps": 10**400}, {"num_hidden_layers": 10**9}, {"vocab_size": 10**12},
    {"rope_scaling": {"type": "linear", "factor": float("inf")}},
])  # fmt: skip
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_model_configs(tmp_path, family, changes):
    (tmp_path / "config.json").write_text(json.dumps(config_of(family) | changes))
    assert "this architecture cannot be read" in refusal(weights.read_spec, tmp_path)


def test_tokenizers():
    whole = json.loads(metaspace_backend().to_str())
    odd = {"vocab": {**whole["model"]["vocab"], "far": 2**32 - 1}}
    far = json.dumps(whole | {"model": whole["model"] | odd}).encode()
    assert "no vocabulary has more than" in refusal(Tokenizer, {"tokenizer.json": far})
    no_byte = metaspace_backend(vocab=("a", "b", "ab", "▁", "▁a", "c", "<0xZZ>", "<0x-1>")).to_str().encode()
    tokenizer = Tokenizer({"tokenizer.json": no_byte})
    ids = tokenizer.backend.get_vocab()
    assert [tokenizer.token_bytes[ids[name]] for name in ("<0xZZ>", "<0x-1>", "<0x41>")] == [b"<0xZZ>", b"<0x-1>", b"A"]
    files = byte_level_files(as_json=True)
    for settings in ({"added_tokens_decoder": {"1": "</s>"}}, {"extra_special_tokens": [3]}):
        files["tokenizer_config.json"] = json.dumps(settings).encode()
        assert "not written as transformers writes them" in refusal(Tokenizer, files)
    files["tokenizer_config.json"] = b"[" * 5000
    assert "not valid JSON" in refusal(Tokenizer, files)


@pytest.mark.parametrize("source", ["{% if 1 %}" * 2000 + "{% endif %}" * 2000, "{{ " + "(" * 5000 + " }}"])
def test_templates(source):
    assert "chat template" in refusal(ChatTemplate, source, {}, {}, "here")


def test_damaged_archives(tmp_path):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dataset/train/P17.train.json", json.dumps([{"question": "q", "answers": ["a"]}] * 50))
    content = bytearray(sink.getvalue())
    start = content.index(b".json") + 5
    content[start] ^= 0xFF  # zlib.error, which is no OSError
    (tmp_path / "dataset.zip").write_bytes(content)
    assert "cannot be read as zip" in refusal(read_source, str(tmp_path / "dataset.zip"))


def test_tfds_records():
    record = {"id": b"a", "question": b"q", "relation": b"", "subject": b"", "answers": [b"x"]}
    assert example_of_record(record, "train").answers == ("x",)
    for changes in ({"answers": []}, {"question": b""}, {"id": b""}, {"question": b"\xff"}):
        with pytest.raises(ValueError, match="answers|question|id|decode"):
            example_of_record(record | changes, "train")
