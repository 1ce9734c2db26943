"""metrics.jsonl over restarts, and the writers of the extras."""

import json
import struct
import sys
import time
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slick_jax.errors import InputError
from slick_jax.training.writers import JsonLines, flatten, make_writers, read_lines

BLOCK, HEADER = 1 << 15, 7  # bytes of a block of a .wandb file, and of the head of a file and of a record
LINES = [
    {"epoch": e, "loss": 1 / e, "dev": {"em": 0.5, "by_category": {"Unknown": {"em": 0.25, "n": 4}}}} for e in (1, 2, 3)
]


def test_lines_go_on_without_duplicates(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = JsonLines(path, ())
    for line in LINES:
        writer.write(line)
    whole = path.read_text()
    again = JsonLines(path, LINES[:2])
    again.write(LINES[2])
    assert path.read_text() == whole and read_lines(path) == LINES


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"ep')
    with pytest.raises(InputError, match="metrics.jsonl: not valid JSON lines"):
        read_lines(tmp_path / "metrics.jsonl")


def test_flatten_names_every_number():
    assert dict(flatten(LINES[1])) == {
        "loss": 0.5, "dev/em": 0.5, "dev/by_category/Unknown/em": 0.25, "dev/by_category/Unknown/n": 4,
    }  # fmt: skip


def test_a_missing_extra_is_bad_input(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"config.train.writers: 'wandb' is not installed .*slick_jax\[wandb\]"):
        make_writers(["wandb"], tmp_path, "mixed/seed-0", "1a2b", {})


def test_weights_and_biases_gets_every_epoch(tmp_path, monkeypatch):
    seen = []
    run = types.SimpleNamespace(log=lambda values, step: seen.append((step, values)), finish=lambda: seen.append("end"))
    wandb = types.SimpleNamespace(init=lambda **settings: seen.append(settings) or run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    (writer,) = make_writers(["wandb"], tmp_path, "mixed/seed-0", "1a2b", {"a": 1})
    writer.write(LINES[0])
    writer.close()
    assert (seen[0]["id"], seen[0]["name"], seen[0]["resume"]) == ("1a2b", "mixed/seed-0", "allow")
    assert seen[0]["config"] == {"a": 1}
    assert seen[1][0] == 1 and seen[1][1]["dev/em"] == 0.5
    assert seen[2] == "end"


def test_weights_and_biases_keeps_every_epoch_offline(tmp_path, monkeypatch):
    """The package itself, without a network: what its file in the run's folder holds."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (writer,) = make_writers(["wandb"], tmp_path, "mixed/seed-0", "1a2b", {"a": 1})
    for line in LINES:
        writer.write(line)
    writer.close()
    (file,) = tmp_path.glob("wandb/offline-run-*-1a2b/run-1a2b.wandb")
    records, until = {}, time.monotonic() + 60  # a process of its own writes the file, and ends with an exit record
    while "exit" not in records and time.monotonic() < until:
        records = {}
        for record in records_of(file.read_bytes()):
            records.setdefault(record.WhichOneof("record_type"), []).append(record)
    found = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records["history"]
    ]
    assert [one["_step"] for one in found] == [1, 2, 3]
    assert [one["dev/by_category/Unknown/em"] for one in found] == [0.25, 0.25, 0.25]
    assert [one["loss"] for one in found] == [line["loss"] for line in LINES]


def records_of(data):
    """The records of a .wandb file: a LevelDB log, in which a long record is cut at the ends of blocks."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, whole = HEADER, b""
    while place + HEADER < len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        whole += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):  # whole, or its last piece
            yield Record.FromString(whole)
            whole = b""


def test_tensorboard_gets_every_epoch(tmp_path):
    (writer,) = make_writers(["tensorboard"], tmp_path, "mixed/seed-0", "1a2b", {})
    for line in LINES:
        writer.write(line)
    writer.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tag = "dev/by_category/Unknown/em"
    found = [(event.step, event.tensor_proto.float_val[0]) for event in events.Tensors(tag)]
    assert found == [(1, 0.25), (2, 0.25), (3, 0.25)]
