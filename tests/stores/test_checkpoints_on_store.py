"""Checkpoints on a store whose service fails: nothing is wrong with the files, and nobody is told to remove them."""

import pytest
from orbax.checkpoint._src.serialization import tensorstore_utils

from slick_jax.errors import InputError, Stopped
from slick_jax.training.checkpoints import Checkpoints, load_params
from tests.training.test_checkpoints import NETWORK, state_of


@pytest.fixture
def hasty(monkeypatch):
    """TensorStore gives up at once."""
    for context in (tensorstore_utils._DEFAULT_OCDBT_TS_CONTEXT, tensorstore_utils._BASE_TS_CONTEXT):
        few = {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"}
        monkeypatch.setitem(context, "gcs_request_retries", few)


def test_what_a_failing_service_says_is_told_and_the_checkpoint_is_read_later(bucket, server, hasty):
    with Checkpoints(bucket) as checkpoints:
        checkpoints.save(state_of(1))
    for status, kind, told in (
        (503, Stopped, "/1: the store cannot be reached .* the same command goes on"),
        (403, InputError, "/1: PERMISSION_DENIED.* give this process the right to use it"),
    ):
        server.fails = lambda method, name: status if method == "GET" and "/d/" in name else None  # noqa: B023
        with pytest.raises(kind, match=told) as raised:
            load_params(bucket, NETWORK)
        assert "remove" not in str(raised.value)
    server.fails = None
    load_params(bucket, NETWORK)


def test_a_checkpoint_that_cannot_be_put_is_put_later(bucket, server, hasty):
    server.fails = lambda method, name: 503 if method in ("POST", "PUT") and "/d/" in name else None
    with pytest.raises(Stopped, match="the store cannot be reached"), Checkpoints(bucket) as checkpoints:
        checkpoints.save(state_of(1))
    server.fails = None
    with Checkpoints(bucket) as checkpoints:
        assert checkpoints.latest is None
        checkpoints.save(state_of(1))
        assert checkpoints.latest == 1
