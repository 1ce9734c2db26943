"""Files of a run folder on a store: put once under their own name, seen by others at once, and what errors say."""

import types

import pytest
from etils import epath

from slick_jax.errors import InputError, Stopped
from slick_jax.files import run_folder, stores
from slick_jax.settings.config_file import load_config


def test_a_file_is_put_once_under_its_own_name(bucket, server):
    path = epath.Path(bucket) / "a" / "b.json"
    run_folder.write_json(path, {"x": 1})
    run_folder.write_json(path, {"x": 2})
    assert run_folder.read_json(path) == {"x": 2}
    name = str(path).removeprefix("gs://bucket/")
    assert server.names("bucket", bucket.removeprefix("gs://bucket/")) == [name]
    assert server.puts[name] == 2


def test_a_large_file_is_whole(bucket):
    content = bytes(range(256)) * 40_000  # 10 MB, more than one request takes
    path = run_folder.write_bytes(epath.Path(bucket) / "large", content)
    assert path.read_bytes() == content


def test_what_another_process_puts_is_seen_at_once(bucket, server):
    folder = epath.Path(bucket)
    run_folder.write_text(folder / "part-0", "")
    assert [path.name for path in folder.glob("part-*")] == ["part-0"] and not (folder / "part-1").exists()
    server.put("bucket", str(folder / "part-1").removeprefix("gs://bucket/"), b"", {}, None)
    assert [path.name for path in folder.glob("part-*")] == ["part-0", "part-1"] and (folder / "part-1").exists()


def test_an_upload_that_fails_leaves_what_was_there(bucket, server):
    path = run_folder.write_text(epath.Path(bucket) / "a", "before")
    server.fails = lambda method, name: 403 if method in ("POST", "PUT") else None
    with pytest.raises(InputError, match=r"/a: cannot be written \(.*\); check that the bucket is there"):
        run_folder.write_text(path, "after")
    server.fails = None
    assert path.read_text() == "before"


@pytest.mark.parametrize("asked", ["write", "read"])
def test_a_store_that_cannot_be_reached_stops_the_command_which_goes_on_later(bucket, server, monkeypatch, asked):
    path = run_folder.write_text(epath.Path(bucket) / "a", "{}")

    async def at_once(_):
        """No waiting between the attempts."""

    monkeypatch.setattr("gcsfs.retry.asyncio", types.SimpleNamespace(sleep=at_once))
    server.fails = lambda *_: 503
    with pytest.raises(Stopped, match="the store cannot be reached .* the same command goes on"):
        if asked == "write":
            run_folder.write_text(path, "{}")
        else:
            run_folder.read_json(path)


def test_an_object_that_may_not_be_read_is_not_told_as_damaged(bucket, server):
    path = run_folder.write_text(epath.Path(bucket) / "a", "{}")
    assert run_folder.read_json(epath.Path(bucket) / "b") is None
    server.fails = lambda *_: 403
    for read in (run_folder.read_json, run_folder.read_parquet):
        with pytest.raises(InputError, match=r"/a: cannot be read \(.*\); check that the bucket") as raised:
            read(path)
        assert "remove" not in str(raised.value)


def test_of_many_that_create_an_object_one_does(bucket):
    path = epath.Path(bucket) / "a"
    assert stores.create(path, b"1")
    assert not stores.create(path, b"2")
    assert path.read_bytes() == b"1"


def test_a_bucket_that_there_is_not_is_told_before_the_work(server):
    with pytest.raises(InputError, match=r"config.run_dir: 'gs://none/x' cannot be written .* credentials"):
        stores.check("gs://none/x")
    stores.check("gs://bucket/x")
    assert not server.names("bucket", "x/")


@pytest.mark.parametrize(
    ("command", "flags", "complaint"),
    [
        ("data", ["run_dir=abc://x/y"], "on no store that is known; give a local folder, or gs://bucket/folder"),
        ("data", ["run_dir=gs://x/y", "data.write_tfds=True"], "TFDS writes local folders"),
        ("pretrain", ["run_dir=gs://x/y"], "makes models and reads them back"),
        ("longform", ["run_dir=gs://x/y"], "makes models and reads them back"),
        ("train", ["run_dir=gs://x/y", "model.path=m", "train.variant=v", "train.writers=wandb"], "write local files"),
        ("export", ["export.checkpoint=gs://x/y", "export.out=gs://x/z"], "is no local folder; export to one"),
    ],
)
def test_what_a_store_cannot_do_is_told(root, command, flags, complaint):
    words = [f"--config.{flag}" for flag in flags]
    with pytest.raises(InputError, match=complaint):
        load_config([f"--config={root}/configs/base.py", "--config.data.kind=world", *words], command)


def test_without_the_extra_its_name_is_told(root, monkeypatch):
    monkeypatch.setattr("slick_jax.settings.needs.is_installed", lambda: False)
    with pytest.raises(InputError, match=r"pip install 'slick_jax\[gcs\]'"):
        load_config([f"--config={root}/configs/base.py", "--config.data.kind=world", "--config.run_dir=gs://a"], "data")
