"""Object stores as run folders: `gs://bucket/path`, through etils.epath, fsspec and gcsfs (extra `gcs`).

An object is there whole or not at all: it is put under its own name, never renamed, and a folder is a prefix of names.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from etils import epath

from slick_jax.errors import InputError, Stopped

SCHEME = "gs://"
REMEDY = (
    "check that the bucket is there, that this machine's Google credentials may read and write its objects"
    " (roles/storage.objectUser), or choose another run_dir"
)


def is_store(path: epath.PathLike) -> bool:
    """Whether a path is in an object store."""
    return os.fspath(path).startswith(SCHEME)


def is_installed() -> bool:
    """Whether the package is there that reads and writes stores."""
    return importlib.util.find_spec("gcsfs") is not None


def configure() -> None:
    """What other processes put is seen at once, and TensorFlow, where it happens to be installed, is not asked.

    Called before the first path of a store is used (`slick_jax.files.run_folder` does); has no effect on local paths.
    """
    os.environ.setdefault("EPATH_USE_TF", "false")
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks an API of its own for the bucket's kind
    if is_installed():
        import fsspec

        fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False


def check(run_dir: str) -> None:
    """Put and remove an object in `run_dir`. Raises InputError where that cannot be done; does nothing elsewhere."""
    if not is_store(run_dir):
        return
    configure()
    probe = epath.Path(run_dir) / f"probe-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except Exception as error:  # of the network, of the credentials, of the bucket: each library has its own
        raise InputError(f"config.run_dir: {run_dir!r} cannot be written ({reason(error)}); {REMEDY}") from error


def is_unreachable(error: BaseException) -> bool:
    """Whether a request failed because of the network or the service, after it was repeated for half a minute."""
    if isinstance(error, ValueError) and str(error).startswith(("ABORTED:", "UNAVAILABLE:", "DEADLINE_EXCEEDED:")):
        return True  # of TensorStore
    if type(error).__name__ == "HttpError" and type(error).__module__.startswith("gcsfs"):
        return (code := int(error.code or 0)) == 429 or code >= 500
    return isinstance(error, TimeoutError) or type(error).__module__.partition(".")[0] in ("aiohttp", "requests")


def unreachable(path: epath.PathLike, error: Exception) -> Stopped:
    """What to raise for such an error: nothing is wrong with the input, so that the same command goes on later."""
    return Stopped(f"{path}: the store cannot be reached ({reason(error)}); the same command goes on from here")


@contextlib.contextmanager
def within_reach(run_dir: str) -> Iterator[None]:
    """Within this block, where files of `run_dir` are read, a store that cannot be reached raises Stopped."""
    try:
        yield
    except Exception as error:
        if is_store(run_dir) and is_unreachable(error):
            raise unreachable(run_dir, error) from error
        raise


def create(path: epath.Path, content: bytes) -> bool:
    """Put an object that is not there yet, as one of any number of processes that try; whether this one has done it."""
    import fsspec

    try:
        fsspec.filesystem("gcs").pipe_file(os.fspath(path), content, mode="create")
    except FileExistsError:
        return False
    return True


def reason(error: Exception) -> str:
    """The first line of what a library says, or its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def absolute(path: epath.PathLike) -> str:
    """One name for a place, whatever folder this process runs in."""
    return os.fspath(path) if is_store(path) else str(Path(path).resolve())


def local_copy(folder: epath.PathLike, names: Sequence[str]) -> Path:
    """A local folder with those of the small files `names` that `folder` has: itself, where it is local.

    A copy goes when this process ends.
    """
    if not is_store(folder):
        return Path(folder)
    copy = Path(tempfile.mkdtemp(prefix="slick-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for name in names:
        source = epath.Path(folder) / name
        if source.exists():
            (copy / name).write_bytes(source.read_bytes())
    return copy
