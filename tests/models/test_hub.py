"""Hub ids: what is fetched, what a folder on disk and the cache decide, and what is said when neither has the model."""

import json

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from slick_jax.config import Config, EvaluateConfig, ModelConfig
from slick_jax.errors import InputError
from slick_jax.models import hub
from slick_jax.models.hf_folder import INDEX

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INDEXED = {INDEX: json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "own.safetensors"}})}
FILES = {"config.json": "{}", "tokenizer.json": "{}", "model.safetensors": "x"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and no network: as on a machine with HF_HUB_OFFLINE=1."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def keep(cache, files, repo="org/name", ref="main", commit=COMMIT):
    """Puts a snapshot into the cache, laid out as huggingface_hub does."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for name, content in files.items():
        (snapshot / name).write_text(content)
    return snapshot


@pytest.mark.parametrize("ref", ["main", "v1.0"])
def test_a_cached_model_is_used_offline_and_its_commit_is_known(cache, ref):
    snapshot = keep(cache, FILES, ref=ref)
    found = hub.resolve("org/name" if ref == "main" else f"org/name@{ref}")
    assert found == hub.Model(str(snapshot), f"org/name@{COMMIT}")
    assert hub.resolve(f"org/name@{COMMIT}") == found


def test_a_folder_on_disk_wins(cache, tmp_path, monkeypatch):
    keep(cache, FILES)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert hub.resolve("org/name") == hub.Model("org/name")


@pytest.mark.parametrize("path", ["", "runs/demo/model", "/absent/model", "./org/name", "gpt2", "gs://b/model", "a/b/"])
def test_what_can_be_no_hub_id_comes_back(cache, path):
    assert hub.resolve(path) == hub.Model(path)


def test_a_mistyped_folder_asks_nothing_of_the_network(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "model").mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match=r"'runs/modle': folder 'runs' is there, but has no .* 'modle'.*@main"):
        hub.resolve("runs/modle")


def test_offline_without_the_model_names_path_cache_and_switch(cache):
    with pytest.raises(InputError, match=r"'org/absent' is no folder here, .*HF_HUB_OFFLINE is set") as told:
        hub.resolve("org/absent")
    assert str(cache) in str(told.value)


@pytest.mark.parametrize("files", [{"config.json": "{}", "pytorch_model.bin": "x"}, {"config.json": "{}", **INDEXED}])
def test_a_snapshot_without_its_safetensors_is_refused(cache, files):
    keep(cache, files)
    with pytest.raises(InputError, match=r"has no model(-00001-of-00002)?\.safetensors.*Only safetensors are fetched"):
        hub.resolve("org/name")


def test_only_what_is_read_is_fetched(cache, monkeypatch):
    snapshot, asked = keep(cache, {"config.json": "{}", **INDEXED}), []

    def download(repo, *, revision, allow_patterns):
        asked.append((repo, revision, sorted(allow_patterns)))
        for name in allow_patterns:
            if name.endswith(".safetensors"):
                (snapshot / name).write_text("x")
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert hub.resolve("org/name@dev").source == f"org/name@{COMMIT}"
    (repo, revision, small), second = asked
    assert (repo, revision) == ("org/name", "dev") and "tokenizer.json" in small and "merges.txt" in small
    assert not any(name.endswith((".bin", ".safetensors", ".py")) or "*" in name for name in small)
    assert second == ("org/name", COMMIT, ["model-00001-of-00002.safetensors", "own.safetensors"])


@pytest.mark.parametrize("has", [True, False])
def test_small_files_alone_where_no_tensor_is_read(cache, monkeypatch, has):
    snapshot, asked = keep(cache, {"config.json": "{}", **INDEXED}), []
    files = ["config.json", INDEX, "model-00001-of-00002.safetensors", *(["own.safetensors"] if has else [])]

    def download(repo, *, revision, allow_patterns):
        asked.extend(allow_patterns)
        return str(snapshot)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda repo, revision: files)
    config = Config(model=ModelConfig(path="org/name"))
    if has:
        assert hub.resolve_config(config, "annotate", tensors=False).model.path == str(snapshot)
    else:
        with pytest.raises(InputError, match="it has no own.safetensors"):
            hub.resolve_config(config, "annotate", tensors=False)
    assert asked and not any(name.endswith(".safetensors") for name in asked)


@pytest.mark.parametrize("outside", ["../secret.safetensors", "code.py"])
def test_an_index_may_only_name_safetensors_beside_it(cache, outside):
    keep(cache, {"config.json": "{}", INDEX: json.dumps({"weight_map": {"a": outside}})})
    with pytest.raises(InputError, match="may only name safetensors files beside it"):
        hub.resolve("org/name")


class Response:
    """As much of an HTTP response as the hub's errors ask for."""

    headers, request, status_code = {}, None, 404


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.RepositoryNotFoundError("gone", response=Response()), "not known, or private"),
        (errors.GatedRepoError("gated", response=Response()), "accept its terms at https://huggingface.co/org/name"),
        (errors.RevisionNotFoundError("none", response=Response()), "no revision 'v2'"),
        (errors.LocalEntryNotFoundError("down"), "not wholly\\) in the cache"),
        (ConnectionResetError("reset"), "cannot be fetched \\(ConnectionResetError: reset\\)"),
    ],
)
def test_errors_of_the_hub_name_both_readings(cache, monkeypatch, error, told):
    def download(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(InputError, match=f"config.model.path: 'org/name@v2' is no folder here, .*{told}"):
        hub.resolve("org/name@v2")


def test_the_config_gets_folder_and_commit_where_the_command_reads_a_model(cache):
    snapshot = keep(cache, FILES)
    config = Config(model=ModelConfig(path="org/name"), evaluate=EvaluateConfig(checkpoint="org/name@main"))
    annotate = hub.resolve_config(config, "annotate")
    assert annotate.model.path == str(snapshot) and annotate.model.source == f"org/name@{COMMIT}"
    assert annotate.evaluate == config.evaluate
    evaluate = hub.resolve_config(config, "evaluate")
    assert evaluate.evaluate.checkpoint == str(snapshot) and evaluate.model.path == "org/name"
    assert hub.resolve_config(config, "mix") == config and hub.resolve_config(Config(), "validate") == Config()
