"""A bucket of the stand-in for Google Cloud Storage, for this process and for those that it starts."""

import os

import pytest

from tests.stores.fake_gcs import Server


@pytest.fixture(scope="session")
def server():
    """The server, with bucket `bucket`; one for the session, as TensorStore reads its address once."""
    made = Server("bucket")
    variables = {
        "STORAGE_EMULATOR_HOST": made.url,  # of gcsfs
        "TENSORSTORE_GCS_HTTP_URL": made.url, "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # of TensorStore
    }  # fmt: skip
    os.environ |= variables
    yield made
    for name in variables:
        del os.environ[name]
    made.shutdown()


@pytest.fixture
def bucket(server, request):
    """A folder of the bucket for one test alone, as text; whatever fails on purpose ends with the test."""
    yield f"gs://bucket/{request.node.name.partition('[')[0]}"
    server.fails = None
